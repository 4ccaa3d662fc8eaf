#!/bin/sh
# The page of panq report in headless Chromium, with replies that try to break out of it: `make
# check-report`.  Pictures are left in BUILD/report.
build=$1
. tools/packages.sh
need_packages $EVAL_PACKAGES $REPORT_PACKAGES
out=$build/report
mkdir -p "$out" || exit 1
python3 tests/e2e/made_runs.py "$out" &&
    "$build/panq" report "$out/bf16.run" "$out/w8a8.run" "$out/w4a8.run" \
        --bench "$out/bench.json" -o "$out/report.html" &&
    python3 tools/check_report.py "$(command -v chromium-headless-shell || command -v chromium)" \
        "$out/report.html" "$out"
