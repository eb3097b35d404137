#!/usr/bin/env bash
# bash tests/bench/run.sh [OPTION...]: installs the peers, builds, and measures them and libipc, in C++ and in Julia, in one
# interleaved run. Its last lines say what libipc is to reach, and whether it does. About 20 minutes.
#   --quick    a glance: under a minute
#   --record   writes results/results.json beside this file, and draws what README.md shows of it
#   --json F   writes the results to the file F, which results.schema.json explains
#   --help     the rest
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
bash "$root/cmake/install_packages.sh" g++ cmake ninja-build pkg-config libfmt-dev libuv1-dev doctest-dev libcli11-dev \
    nlohmann-json3-dev libzmq3-dev libnng-dev libboost-dev gnuplot-nox python3 >&2
CMAKE_GENERATOR=Ninja cmake -S "$root" -B "$root/build" >/dev/null
cmake --build "$root/build" --target bench -- --quiet >&2
julia=$(bash "$root/julia/deps/install_julia.sh")
bench=("$root/build/tests/bench/bench" --julia "$julia" --commit "$(git -C "$root" describe --always --dirty || true)")
for argument; do
    if [ "$argument" = --record ]; then
        bench+=(--json "$root/tests/bench/results/results.json")
        draw=yes
    else
        bench+=("$argument")
    fi
done
"${bench[@]}"
[ -z "${draw-}" ] || python3 "$root/tests/bench/draw.py"
