#!/usr/bin/env bash
# bash tests/bench/julia.sh [SECONDS [ROUNDS]]: Julia's loops beside C++'s, at 64 B to 1 MiB, interleaved, each for SECONDS
# (0.2) in each of ROUNDS (9): messages per second, bytes allocated, and what it costs to wake a task.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash cmake/install_packages.sh g++ cmake ninja-build pkg-config libfmt-dev libuv1-dev doctest-dev libcli11-dev nlohmann-json3-dev >&2
CMAKE_GENERATOR=Ninja cmake -S . -B build >/dev/null
cmake --build build --target ipc flood -- --quiet >&2
julia=$(bash julia/deps/install_julia.sh)
# The first two processors that are allowed: one for the sender, one for whoever receives.
mapfile -t cpus < <(taskset -cp $$ | sed 's/.*: //' | tr , '\n' | awk -F- '{ for (i = $1; i <= (NF > 1 ? $2 : $1); ++i) print i }')
LIBIPC_LIBRARY=$PWD/build/libipc.so exec taskset -c "${cpus[1]:-${cpus[0]}}" "$julia" --startup-file=no --project=julia -O2 \
    tests/bench/julia.jl "$PWD/build/tests/bench/flood" "${cpus[0]}" "${1:-0.2}" "${2:-9}"
