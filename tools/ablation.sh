#!/bin/sh
# What each step of quantization is worth on pangu-mini, with outliers planted and without: tables in
# Markdown, from real runs of every row.
#
#   tools/ablation.sh BUILD [TASKS]     TASKS of mini-eval are solved in each mode (default all)
cd "$(dirname "$0")/.." || exit 1
build=$1 tasks=${2:-164}
mini=models/pangu-mini
out=$build/ablation
rm -rf "$out" && mkdir -p "$out/plain" "$out/planted" "$out/bf16" || exit 1

# Two thirds of the prompts are for calibration, the rest for the comparison.
head -n 64 $mini/calibration.jsonl >"$out/prompts-calibration.jsonl"
tail -n 32 $mini/calibration.jsonl >"$out/prompts-held-out.jsonl"
for part in calibration held-out; do
    "$build/panq" calibrate $mini -o "$out/$part.jsonl" --prompts "$out/prompts-$part.jsonl" \
        --modes slow,auto,no >"$out/log" 2>&1 || exit 1
done
cp $mini/*.json $mini/tokenizer.model "$out/bf16"
"$build/plant" $mini "$out/bf16/model.safetensors" || exit 1

# solve MODEL RESULT
solve() {
    "$build/panq" eval "$1" --task $mini/mini-eval.jsonl --limit "$tasks" --think slow,auto,no --json \
        -o "$out/run" >"$2.eval.json" 2>"$out/log" || exit 1
    rm -f "$out/run"
}

# measure SOURCE NAME OPTION...: quantize, compare, solve.  What is the same file as without outliers
# is not measured twice.
measure() {
    source=$1 name=$2 place=planted
    shift 2
    [ "$source" = $mini ] && place=plain
    result=$out/$place/$name
    "$build/panq" quantize "$source" -o "$result" "$@" >"$out/log" 2>&1 || { cat "$out/log" >&2; exit 1; }
    echo "$*" >"$result.options"
    if [ $place = planted ] && cmp -s "$result/model.safetensors" "$out/plain/$name/model.safetensors"; then
        : >"$result.same"
        return
    fi
    "$build/panq" fidelity $mini "$result" --traces "$out/held-out.jsonl" --json \
        >"$result.fidelity.json" 2>"$out/log" || exit 1
    solve "$result" "$result"
}

# row NAME OPTION...: with and without outliers.
row() {
    for from in $mini "$out/bf16"; do
        measure "$from" "$@"
    done
    echo "$1" >>"$out/rows"
}

traces="--calibration $out/calibration.jsonl"
solve $mini "$out/bf16"
# shellcheck disable=SC2086 # words
{
    a='--scheme w8a8'
    row A1 $a --recipe rtn
    row A2 $a --recipe smooth --without gptq,refine $traces
    row A3 $a --recipe rotate --without online,equalize
    row A4 $a --recipe rotate --without equalize
    row A5 $a --recipe rotate
    row A6 $a --recipe best --without gptaq,refine $traces
    row A7 $a --recipe best $traces
    row A8 $a --recipe smooth $traces
    b='--scheme w4a8 --group channel'
    row B1 $b --recipe rtn
    row B2 $b --recipe smooth --without gptq,refine $traces
    row B3 $b --recipe rotate
    row B4 $b --recipe best --without gptaq,refine $traces
    row B5 $b --recipe best --without refine $traces
    row B6 $b --recipe best $traces
    row B7 --scheme w4a8 --group 256 --recipe best $traces
    row B8 --scheme w4a8 --group 32 --recipe best $traces
    row B9 --scheme w4a8 --group 32 --recipe best --budget-bits 4.5 $traces
    row B10 $b --recipe smooth $traces
    for mode in slow auto no; do
        measure $mini $mode $b --recipe best $traces --mode-weights $mode=1
    done
}
python3 tools/ablation_table.py "$out"
