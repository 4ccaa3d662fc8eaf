#!/bin/sh
# GCC has kept the accumulators of these tiles in memory before, at half the speed: no 512-bit
# register may be moved to or from the stack.
#   tools/check_spills.sh build
bad=0
for object in "$1"/src/cpu/x86/tile_*_avx512vnni.o "$1"/src/cpu/x86/tile_*_avx512bf16.o; do
    spills=$(objdump -d "$object" | grep -cE 'zmm[0-9]+,.*\(%rsp\)|\(%rsp\),%zmm')
    if [ "$spills" -ne 0 ]; then
        echo "$object: $spills spills"
        bad=1
    fi
done
[ "$bad" -eq 0 ] && echo "no accumulator is spilled"
exit "$bad"
