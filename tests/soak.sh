#!/usr/bin/env bash
# bash tests/soak.sh [SECONDS [SEED]]: builds, and disturbs senders and receivers at random for so long (60 s).
# Ends with the count of faults, of messages, and of what was wrong, which must be 0; the exit status says the same.
set -euo pipefail
cd "$(dirname "$0")/.."
bash cmake/install_packages.sh g++ cmake ninja-build pkg-config libfmt-dev libuv1-dev doctest-dev libcli11-dev nlohmann-json3-dev >&2
CMAKE_GENERATOR=Ninja cmake -S . -B build >/dev/null
cmake --build build --target soak -- --quiet >&2
exec build/tests/soak/soak "$@"
