#!/bin/sh
# Fetches real checkpoints and holds panq against other implementations on them: `make real`.
#   tools/real/run.sh BUILD FOLDER [MODEL...]
# FOLDER keeps the virtual environment, what was fetched and what was quantized (about 15 GB).
# TEXTS may name files whose ids are compared, too; HUMANEVAL its published file, to be solved in
# BF16, W8A8 and W4A8.
build=$1 folder=$2
shift 2
[ $# -gt 0 ] || set -- smollm2-135m coder-0.5b
here=$(dirname "$0")
panq=$build/panq
python=$folder/venv/bin/python
failed=0

mkdir -p "$folder" || exit 1
if [ ! -x "$python" ]; then
    python3 -m venv "$folder/venv" && "$python" -m pip install -q -r "$here/requirements.txt" || exit 1
fi

for model in "$@"; do
    echo "# $model"
    [ -f "$folder/$model/config.json" ] ||
        "$python" "$here/fetch.py" "$model" "$folder/$model" --cache "$folder/cache" || exit 1
    "$python" "$here/check.py" "$panq" "$folder/$model" --text $TEXTS || failed=1
    for form in "w8a8" "w4a8" "w8a8 --portable"; do
        out=$folder/$model-$(echo "$form" | tr -d ' ')
        [ -d "$out" ] || "$panq" quantize "$folder/$model" -o "$out" --scheme $form || failed=1
    done
    "$python" tools/check_compressed_tensors.py "$panq" "$folder/$model-w8a8--portable" || failed=1
    [ -n "$HUMANEVAL" ] || continue
    for out in "$folder/$model" "$folder/$model-w8a8" "$folder/$model-w4a8"; do
        echo "# HumanEval: $(basename "$out")"
        "$panq" eval "$out" --task "$HUMANEVAL" --batch 16 -o "$out.humaneval.jsonl" || failed=1
    done
done
exit $failed
