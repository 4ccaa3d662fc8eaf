#!/bin/sh
# Every external symbol of the library is prefixed, so that it can be linked into anything.
#   tools/check_symbols.sh build/libpanq.a
found=$(nm -g --defined-only "$1" 2>/dev/null | awk 'NF == 3 && $2 ~ /[TDBRC]/ && $3 !~ /^pq_/ { print $3 }')
if [ -n "$found" ]; then
    echo "$1 defines symbols without pq_: $found"
    exit 1
fi
echo "all symbols are prefixed"
