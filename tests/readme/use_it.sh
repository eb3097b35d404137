#!/usr/bin/env bash
# Does what README.md says under "Use it": takes the programs and the commands from it, installs libipc into a folder of
# its own, and compares what the commands print with what they are said to print.
#   use_it.sh CHECKOUT BUILD JULIA
set -euo pipefail
checkout=$1 build=$2 julia=$3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

block() { # block SECTION LANGUAGE: the block in this language under this heading
    awk -v section="$1" -v fence="\`\`\`$2" '
        /^##+ / { here = $0 == section }
        inside && /^```$/ { exit }
        inside
        here && $0 == fence { inside = 1 }
    ' "$checkout/README.md" | grep . || { echo "README.md has no $2 under \"$1\"" >&2; exit 1; }
}

cmake --install "$build" --prefix "$work/prefix" >/dev/null
libraries=$(dirname "$(find prefix -name libipc.so)")
ln -s "$checkout/julia" julia
mkdir bin
ln -s "$julia" bin/julia

export PATH=$work/bin:$PATH PKG_CONFIG_PATH=$work/$libraries/pkgconfig LD_LIBRARY_PATH=$work/$libraries \
    LIBIPC_LIBRARY=$work/$libraries/libipc.so JULIA_DEPOT_PATH=$work/depot: IPC_DIR=$work/ipc

run() { # run SECTION C++FILE JULIAFILE: writes them, does the commands, compares
    block "$1" cpp >"$2"
    block "$1" julia >"$3"
    { block "$1" sh; echo wait; } >commands
    block "$1" text >expected
    bash -e commands >printed
    diff expected printed
}
run "## Use it" sender.cpp receiver.jl
for program in sender.cpp receiver.jl; do
    [ "$(wc -l <$program)" -le 15 ] || { echo "$program has more than 15 lines" >&2; exit 1; }
done
run "### Ask and answer" answer.cpp ask.jl
for program in answer.cpp ask.jl; do # less empty lines, which `block` drops
    grep . "$checkout/julia/examples/ask_and_answer/$program" | cmp - $program
done

block "### In an event loop" cpp >loop.cpp
g++ -std=c++20 loop.cpp -o loop $(pkg-config --cflags --libs libipc)
mkfifo keys
./loop <keys >sizes &
exec 3>keys
./sender
printf q >&3
wait
printf '307200 bytes\n307200 bytes\n307200 bytes\n' | diff - sizes
