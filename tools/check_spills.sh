#!/bin/sh
# GCC has kept the accumulators of these tiles in memory before, at half the speed: no vector
# register may be moved to the stack.
#   tools/check_spills.sh build
bad=0
for object in "$1"/src/cpu/x86/tile_*.o; do
    spills=$(objdump -d "$object" | grep -cE '%[yz]mm[0-9]+,[-x0-9a-f]*\(%r[sb]p\)')
    if [ "$spills" -ne 0 ]; then
        echo "$object: $spills spills"
        bad=1
    fi
done
[ "$bad" -eq 0 ] && echo "no accumulator is spilled"
exit "$bad"
