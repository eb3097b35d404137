#!/usr/bin/env bash
# The tests that README.md and ipc.h name for what they promise are there, and each promise of README.md has one.
#   named_tests.sh CHECKOUT BUILD
set -euo pipefail
checkout=$1 build=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=0
{
    ctest --test-dir "$build" -N | sed -n 's/^ *Test *#[0-9]*: //p'
    (cd "$checkout/julia/test" && printf 'julia: %s\n' *.jl) # also where there is no Julia to run them
} >"$work/all"

names() { sed -nE 's/^[ *]*[0-9]*  +((process|kill_points|abi|alone|root|unit|julia): .*)/\1/p' "$1"; }
for file in README.md include/ipc/ipc.h; do
    names "$checkout/$file" >"$work/named"
    [ "$(wc -l <"$work/named")" -gt 15 ] || { echo "$file names too few tests: is their form another?"; wrong=1; }
    if ! grep -vxFf "$work/all" "$work/named" >"$work/missing"; then continue; fi
    echo "$file names tests that there are not:"
    cat "$work/missing"
    wrong=1
done

promised=$(sed -n '/^\*\*Guaranteed/,/^\*\*Not/s/^\([0-9]*\)\. .*/\1/p' "$checkout/README.md")
shown=$(sed -nE 's/^ ?([0-9]+)  [a-z_]+: .*/\1/p' "$checkout/README.md")
[ -n "$promised" ] && [ "$promised" = "$shown" ] || {
    echo "README.md: the numbers of the promises are not those of the tests"
    wrong=1
}
exit $wrong
