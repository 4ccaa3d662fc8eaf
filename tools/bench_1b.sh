#!/bin/sh
# Speed and memory at openPangu-1B's shape, on synthetic weights: BF16, W8A8 and W4A8 in turn in one
# run.  Takes 5 GB of disk and a few minutes the first time.
#   tools/bench_1b.sh BUILD FOLDER
build=$1 folder=$2
panq=$build/panq
mkdir -p "$folder" || exit 1

[ -d "$folder/1b" ] ||
    "$build/synth" --shape 1b --tokenizer models/pangu-mini "$folder/1b" || exit 1
for scheme in w8a8 w4a8; do
    [ -d "$folder/1b-$scheme" ] ||
        "$panq" quantize "$folder/1b" -o "$folder/1b-$scheme" --scheme $scheme --recipe rotate || exit 1
done
"$panq" bench "$folder/1b" "$folder/1b-w8a8" "$folder/1b-w4a8"
