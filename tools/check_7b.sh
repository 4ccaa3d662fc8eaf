#!/bin/sh
# Quantizes a checkpoint of openPangu-7B's shape (synthetic, 16 GB on disk), packs what comes of it,
# and fails if either takes more than 6 GiB of memory at any moment.
#   tools/check_7b.sh BUILD FOLDER
build=$1 folder=$2
limit_kb=$((6 * 1024 * 1024))
mkdir -p "$folder" || exit 1

# limited COMMAND...: whether it succeeds within the limit
limited() {
    python3 - "$limit_kb" "$@" <<'PY'
import resource, subprocess, sys, time
start = time.time()
code = subprocess.run(sys.argv[2:]).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"peak memory {peak / 2**20:.2f} GiB of at most {int(sys.argv[1]) / 2**20:.0f}, {time.time() - start:.0f} s")
sys.exit(code != 0 or peak > int(sys.argv[1]))
PY
}

[ -d "$folder/7b" ] ||
    "$build/synth" --shape 7b --tokenizer models/pangu-mini "$folder/7b" || exit 1
failed=0
for scheme in w8a8 w4a8; do
    made=$folder/7b-$scheme
    rm -rf "$made" "$made-panels"
    limited "$build/panq" quantize "$folder/7b" -o "$made" --scheme $scheme || failed=1
    limited "$build/panq" pack "$made" -o "$made-panels" || failed=1
    rm -rf "$made"
    "$build/panq" bench "$made-panels" --prompt 16 --decode 4 --repeat 1 || failed=1
    rm -rf "$made-panels"
done
exit $failed
