#!/bin/sh
# GCC has kept the accumulators of these tiles in memory before, at half the speed: no vector
# register may be moved to the stack there, nor in the passes that every activation takes.
#   tools/check_spills.sh build [OBJDUMP]
objdump=${2:-objdump}
bad=0

# OBJECT [FUNCTION]
check() {
    spills=$("$objdump" -d ${2:+--disassemble="$2"} "$1" |
        grep -cE '%[yz]mm[0-9]+,[-x0-9a-f]*\(%r[sb]p\)|st[rp].*q[0-9]+, \[(sp|x29)')
    if [ "$spills" -ne 0 ]; then
        echo "$1 $2: $spills spills"
        bad=1
    fi
}

for object in "$1"/src/cpu/*/tile_*.o; do
    check "$object"
done
object=$1/src/cpu/x86/elementwise_avx512.o
if [ -e "$object" ]; then
    for function in silu_mul quantize interleave; do
        check "$object" "$function"
    done
fi
[ "$bad" -eq 0 ] && echo "no accumulator is spilled"
exit "$bad"
