#!/usr/bin/env bash
# usage: tests/fuzz/run.sh SECONDS [BUILD]
# Says changed conversations to receivers and senders for SECONDS of each kind, with the address and undefined-behaviour
# sanitizers: by the fuzz of BUILD, build/address if it is not said. Each kind's seed is printed, to try it again.
set -euo pipefail
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [BUILD]}
fuzz=${2:-$(dirname "$0")/../../build/address}/tests/fuzz/fuzz
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export IPC_DIR=$folder/ipc
failed=0
for target in hello frames answers chunks datagrams; do "$fuzz" $target "$seconds" || failed=1; done
exit $failed
