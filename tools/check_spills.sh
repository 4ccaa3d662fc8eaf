#!/bin/sh
# Compilers have kept the accumulators of these tiles in memory before, at two thirds or half of the
# speed: no vector register may be moved to the stack in an innermost loop there, nor in those of
# the passes that every activation takes.  What is stored once before a loop is a constant.
#   tools/check_spills.sh build [OBJDUMP]
objdump=${2:-objdump}
bad=0

# What is wrong with a disassembly: stores of vectors to the stack in a loop in which there is no
# other.  A loop is what lies between a jump backward and its target, of all jumps to one target
# together.
faults() {
    awk '
        function end_function(    i, head, stack) {
            stack = framed ? "%r[sb]p" : "%rsp"
            for (head in last) {
                for (i = head + 1; i <= last[head] && !(i in last); i++) {}
                if (i <= last[head])
                    continue
                for (i = head + 0; i <= last[head]; i++)
                    if (text[i] ~ "%[yz]mm[0-9]+,[-x0-9a-f]*\\(" stack "\\)" ||
                        text[i] ~ /st[rp].*q[0-9]+, \[(sp|x29)/)
                        spills++
            }
            split("", last); split("", line); n = framed = 0
        }
        />:$/ { end_function(); next }
        $1 ~ /^[0-9a-f]+:$/ {
            some = 1
            line[substr($1, 1, length($1) - 1)] = ++n
            text[n] = $0
            if ($0 ~ /mov +%rsp,%rbp/)
                framed = 1
            if ($2 ~ /^(j|b$|b\.|cbn?z|tbn?z)/ && match($0, /[0-9a-f]+ </)) {
                target = substr($0, RSTART, RLENGTH - 2)
                if (target in line)
                    last[line[target]] = n
            }
        }
        END {
            end_function()
            if (!some)
                print "no instructions"
            else if (spills)
                print spills " spills"
        }'
}

# OBJECT [FUNCTION]
check() {
    found=$("$objdump" -d --no-show-raw-insn ${2:+--disassemble="$2"} "$1" | faults)
    if [ -n "$found" ]; then
        echo "$1 $2: $found"
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
