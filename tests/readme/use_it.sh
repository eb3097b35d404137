#!/usr/bin/env bash
# Does what README.md says under "Use it": takes the two programs and the commands from it, installs libipc into a folder
# of its own, and compares what the commands print with what they are said to print.
#   use_it.sh CHECKOUT BUILD JULIA
set -euo pipefail
checkout=$1 build=$2 julia=$3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

block() { # block LANGUAGE: the block in this language
    awk -v fence="\`\`\`$1" '
        /^## / { here = $0 == "## Use it" }
        inside && /^```$/ { exit }
        inside
        here && $0 == fence { inside = 1 }
    ' "$checkout/README.md" | grep . || { echo "README.md has no $1 under \"Use it\"" >&2; exit 1; }
}
block cpp >sender.cpp
block julia >receiver.jl
{ block sh; echo wait; } >commands
block text >expected
for program in sender.cpp receiver.jl; do
    [ "$(wc -l <$program)" -le 15 ] || { echo "$program has more than 15 lines" >&2; exit 1; }
done

cmake --install "$build" --prefix "$work/prefix" >/dev/null
libraries=$(dirname "$(find prefix -name libipc.so)")
ln -s "$checkout/julia" julia
mkdir bin
ln -s "$julia" bin/julia

PATH=$work/bin:$PATH PKG_CONFIG_PATH=$work/$libraries/pkgconfig LD_LIBRARY_PATH=$work/$libraries \
    LIBIPC_LIBRARY=$work/$libraries/libipc.so JULIA_DEPOT_PATH=$work/depot: IPC_DIR=$work/ipc \
    bash -e commands >printed
diff expected printed
