#!/usr/bin/env bash
# relink.sh CMAKE GENERATOR SOURCES SCRATCH: a library made by the rules of cmake/flags.cmake is built, built again with a
# change, and built with a fault, while the first file is kept open as a process that has loaded it would.
set -euo pipefail
trap 'echo "line $LINENO: not so: $BASH_COMMAND" >&2' ERR
cmake=$1 generator=$2 sources=$3 scratch=$4
rm -rf "$scratch"
mkdir -p "$scratch"
trap 'rm -rf "$scratch"' EXIT
cp "$sources/tests/abi/relink/"* "$scratch"
"$cmake" -G "$generator" -S "$scratch" -B "$scratch/build" -DLIBIPC_SOURCES="$sources" -DLIBIPC_SANITIZE= \
  -DCMAKE_BUILD_TYPE=Debug >/dev/null
library=$scratch/build/libpart.so.0.1.0
build() { "$cmake" --build "$scratch/build" >"$scratch/log" 2>&1; }
inode() { stat -L -c %i "$1"; }

build
exec 3<"$library"
first=$(inode "$library") before=$(sha256sum <"$library")

sed -i 's/return 1/return 2/' "$scratch/part.cpp"
build
[ "$(inode "$library")" != "$first" ]
[ "$(sha256sum <"$library")" != "$before" ]
[ "$(inode /dev/fd/3)" = "$first" ]
[ "$(sha256sum <&3)" = "$before" ] # what is loaded has not changed

second=$(inode "$library")
echo 'void not_there(); int wrong() { return not_there(), 3; }' >>"$scratch/part.cpp"
if build; then
  echo "a library with an undefined symbol was linked" >&2
  exit 1
fi
[ "$(inode "$library")" = "$second" ]
