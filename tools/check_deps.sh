#!/bin/sh
# The direction of dependencies: what a room of the source may include.
#   programs -> panq.h;  quant -> model, io, cpu;  model -> io, tok, cpu;  tok -> io;  all -> base
cd "$(dirname "$0")/.." || exit 1
bad=0

# check ROOM ALLOWED...: every project include in ROOM names ROOM itself, panq.h or something allowed
check() {
    room=$1
    shift
    allowed="panq.h|$(basename "$room")/"
    for other in "$@"; do
        allowed="$allowed|$other/"
    done
    found=$(grep -rnE '^#include "' "$room" --include='*.c' --include='*.h' --include='*.cc' |
        grep -vE "#include \"($allowed)")
    if [ -n "$found" ]; then
        echo "$room may include only: $allowed"
        echo "$found"
        bad=1
    fi
}

check src/base
check src/io base
check src/tok base io
check src/cpu base
check src/model base io tok cpu
check src/quant base io cpu model

# Programs stand on the public header alone; their own headers lie beside them, without a path.
found=$(grep -rnE '^#include "' programs | grep -vE '#include "(panq\.h|[a-z_]+\.h)"')
if [ -n "$found" ]; then
    echo "programs may include only panq.h and their own headers"
    echo "$found"
    bad=1
fi
[ "$bad" -eq 0 ] && echo "dependencies point downward"
exit "$bad"
