# common.sh - sourced by the tests of commands, with $tmp: TAP lines, and a look at what was printed.
n=0

# ok CODE NAME: one TAP line; on a failure what was printed, too.
ok() {
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        head -n 20 "$tmp/out" "$tmp/err" | sed 's/^/# /'
    fi
}
# run CODE COMMAND...: whether it ends with that exit code; output in $tmp/out and $tmp/err.
run() {
    want=$1
    shift
    "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
    [ $? -eq "$want" ]
}
out() { grep -qF -e "$1" "$tmp/out"; }
err() { grep -qF -e "$1" "$tmp/err"; }
# json EXPRESSION: whether it holds of the JSON in $tmp/out, d.
json() {
    python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(not eval(sys.argv[2]))' "$tmp/out" "$1"
}
