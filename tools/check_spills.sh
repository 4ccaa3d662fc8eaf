#!/bin/sh
# GCC has kept the accumulators of these tiles in memory before, at half the speed: no vector
# register may be moved to the stack.
#   tools/check_spills.sh build [OBJDUMP]
bad=0
for object in "$1"/src/cpu/*/tile_*.o; do
    spills=$("${2:-objdump}" -d "$object" |
        grep -cE '%[yz]mm[0-9]+,[-x0-9a-f]*\(%r[sb]p\)|st[rp].*q[0-9]+, \[(sp|x29)')
    if [ "$spills" -ne 0 ]; then
        echo "$object: $spills spills"
        bad=1
    fi
done
[ "$bad" -eq 0 ] && echo "no accumulator is spilled"
exit "$bad"
