#!/usr/bin/env bash
# bash tests/bench/run.sh [OPTION...]: installs the peers, builds, and measures all of them and libipc in one interleaved
# run: throughput and one-way latency as a table, and with --json FILE as JSON. --quick is a glance; --help shows the rest.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash cmake/install_packages.sh g++ cmake ninja-build pkg-config libfmt-dev libuv1-dev doctest-dev libcli11-dev nlohmann-json3-dev \
    libzmq3-dev libnng-dev libboost-dev >&2
CMAKE_GENERATOR=Ninja cmake -S . -B build >/dev/null
cmake --build build --target bench -- --quiet >&2
exec build/tests/bench/bench "$@"
