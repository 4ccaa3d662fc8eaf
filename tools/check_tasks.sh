#!/bin/sh
# Holds the harness against task files: every solution of theirs passes, every mutant of one fails.
#   tools/check_tasks.sh BUILD FILE...
# The last line says "N passed, N failed".
build=$1
shift
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
good=0 bad=0
for tasks in "$@"; do
    for kind in right wrong; do
        split=
        case $tasks in *mbpp*) split='--split all' ;; esac
        # shellcheck disable=SC2086 # two words or none
        python3 tools/mutate.py "$tasks" $kind >"$tmp/replies" &&
            "$build/panq" eval --task "$tasks" $split --replies "$tmp/replies" -o "$tmp/run" >/dev/null || exit 1
        [ $kind = right ] && wanted=true || wanted=false
        as=$(grep -c "\"passed\":$wanted" "$tmp/run")
        not=$(grep '^{"task_id"' "$tmp/run" | grep -vc "\"passed\":$wanted")
        echo "$tasks, $kind: $as of $((as + not)) as they should be"
        grep '^{"task_id"' "$tmp/run" | grep -v "\"passed\":$wanted" | cut -c 1-160
        good=$((good + as)) bad=$((bad + not))
        rm "$tmp/run"
    done
done
echo "$good passed, $bad failed"
[ "$bad" -eq 0 ] && [ "$good" -gt 0 ]
