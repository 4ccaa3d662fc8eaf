#!/bin/sh
# The tests of kernels, products and threads on emulated AArch64 processors: one for each ISA, which
# has that ISA and none above it.  Attention, which takes minutes there, is tested on the last one,
# which has all of them.  The last line says "N passed, N failed".
#   tools/check_arm.sh build/arm64
cd "$(dirname "$0")/.." || exit 1
build=$1 passed=0 failed=0
for pair in cortex-a57:neon neoverse-n1:dotprod max:i8mm; do
    cpu=${pair%:*} isa=${pair#*:}
    echo "$cpu:"
    run="qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu $cpu"
    tests="kernels unit/test_gemm unit/test_threads"
    [ "$isa" != i8mm ] || tests="unit/test_attention $tests"
    result=$(BUILD=$build/cpu RUN_WITH=$run tests/run $tests)
    echo "$result"
    counts=$(echo "$result" | tail -n 1)
    bad=${counts#*, }
    passed=$((passed + ${counts%% *})) failed=$((failed + ${bad%% *}))
    best=$($run "$build/cpu/tests/kernels/test_kernels" | sed -n 's/^# best ISA: //p;1q')
    if [ "$best" = "$isa" ]; then
        passed=$((passed + 1))
    else
        echo "$cpu: the best ISA is '$best', not $isa"
        failed=$((failed + 1))
    fi
done
if tools/check_spills.py "$build" aarch64-linux-gnu-objdump; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
