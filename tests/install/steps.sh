#!/usr/bin/env bash
# steps.sh STEP: one test of what is installed; see CMakeLists.txt, which also sets the variables in capitals.
set -euo pipefail
trap 'echo "steps.sh, line $LINENO: not so: $BASH_COMMAND" >&2' ERR
step=$1
prefix=$SCRATCH/prefix
work=$SCRATCH/$step
rm -rf "$work"
mkdir -p "$work/ipc"
chmod 0700 "$work/ipc"
export IPC_DIR=$work/ipc
export CCACHE_DISABLE=1

# `set -e` passes over a command behind `!`.
must_not() {
  if "$@"; then
    echo "must not be so: $*" >&2
    exit 1
  fi
}

files() { (cd "$1" && find . -type f -o -type l | sort); }

# In a program's own build, with the installed tree at $1.
by_pkg_config() {
  PKG_CONFIG_PATH=$1/$LIBDIR/pkgconfig pkg-config "${@:2}" libipc
}
build_by_pkg_config() { # PREFIX COMPILER SOURCE ARGUMENTS...
  # shellcheck disable=SC2046 # words of flags
  "$2" "${@:4}" -Wall -Wextra -Werror "$SOURCES/tests/install/consumer/$3" -o "$work/$3.out" \
    $(by_pkg_config "$1" --cflags --libs)
  LD_LIBRARY_PATH=$(by_pkg_config "$1" --variable=libdir) "$work/$3.out"
}
configure_consumer() { # PREFIX [VERSION]
  "$CMAKE" -G "$GENERATOR" -S "$SOURCES/tests/install/consumer" -B "$work/build" -DCMAKE_PREFIX_PATH="$1" \
    -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" -DWANTED_VERSION="${2-$VERSION}" >"$work/log" 2>&1
}
build_by_find_package() { # PREFIX
  configure_consumer "$1" || { cat "$work/log" && false; }
  grep -q "libipc_DIR:PATH=$1/$LIBDIR/cmake/libipc" "$work/build/CMakeCache.txt"
  "$CMAKE" --build "$work/build" >"$work/log" 2>&1 || { cat "$work/log" && false; }
  "$work/build/c_consumer"
  "$work/build/cxx_consumer"
}

case $step in
tree)
  rm -rf "$prefix"
  "$CMAKE" --install "$BUILD" --prefix "$prefix" >/dev/null
  diff -u - <(files "$prefix" | sed -E 's/(libipc-targets-)[a-z]+(\.cmake)/\1BUILDTYPE\2/') <<END
$(sort <<LIST
./bin/ipc
./include/ipc/ipc.h
./include/ipc/ipc.hpp
./$LIBDIR/cmake/libipc/libipc-config-version.cmake
./$LIBDIR/cmake/libipc/libipc-config.cmake
./$LIBDIR/cmake/libipc/libipc-targets-BUILDTYPE.cmake
./$LIBDIR/cmake/libipc/libipc-targets.cmake
./$LIBDIR/libipc.so
./$LIBDIR/libipc.so.0
./$LIBDIR/libipc.so.$VERSION
./$LIBDIR/pkgconfig/libipc.pc
./share/bash-completion/completions/ipc
./share/zsh/site-functions/_ipc
LIST
)
END
  [ "$(readlink "$prefix/$LIBDIR/libipc.so")" = libipc.so.0 ]
  [ "$(readlink "$prefix/$LIBDIR/libipc.so.0")" = "libipc.so.$VERSION" ]
  cmp "$SOURCES/include/ipc/ipc.h" "$prefix/include/ipc/ipc.h"
  # Where it was built is nobody's business, and may be gone.
  must_not grep -rlF -e "$BUILD" -e "$SOURCES" "$prefix/$LIBDIR/cmake" "$prefix/$LIBDIR/pkgconfig" "$prefix/include"
  must_not grep -E 'RPATH|RUNPATH' <(readelf -d "$prefix/$LIBDIR/libipc.so")
  ;;
pkg_config_c)
  [ "$(by_pkg_config "$prefix" --modversion)" = "$VERSION" ]
  build_by_pkg_config "$prefix" "$CC" consumer.c -std=c99 -pedantic
  ;;
pkg_config_cxx)
  build_by_pkg_config "$prefix" "$CXX" consumer.cpp -std=c++20 -pedantic
  ;;
find_package)
  build_by_find_package "$prefix"
  ;;
versions)
  IFS=. read -r major minor _ <<<"$VERSION"
  configure_consumer "$prefix" "$major.$minor"
  for other in "$major.$((minor + 1))" "$((major + 1)).0"; do
    must_not configure_consumer "$prefix" "$other"
    grep -q "version: $VERSION" "$work/log" # it was looked at, and refused
  done
  ;;
moved)
  # Into a folder with a blank: a user's home may have one.
  mkdir "$work/a new place"
  cp -a "$prefix" "$work/a new place/ipc"
  build_by_find_package "$work/a new place/ipc"
  mkdir "$work/elsewhere"
  cp -a "$prefix" "$work/elsewhere/ipc"
  [ "$(cd "$(by_pkg_config "$work/elsewhere/ipc" --variable=prefix)" && pwd -P)" = "$(cd "$work/elsewhere/ipc" && pwd -P)" ]
  build_by_pkg_config "$work/elsewhere/ipc" "$CC" consumer.c
  build_by_pkg_config "$work/elsewhere/ipc" "$CXX" consumer.cpp -std=c++20
  ;;
destdir)
  DESTDIR=$work/stage "$CMAKE" --install "$BUILD" --prefix /opt/ipc >/dev/null
  diff -u <(files "$prefix") <(files "$work/stage/opt/ipc")
  [ "$(files "$work/stage" | grep -cv '^./opt/ipc/' || true)" = 0 ]
  must_not grep -rF "$work" "$work/stage"
  ;;
command)
  "$prefix/bin/ipc" --version
  cp -a "$prefix" "$work/moved"
  "$work/moved/bin/ipc" --version
  ;;
clean_sources)
  touch "$work/stamp"
  "$CMAKE" -G "$GENERATOR" -S "$SOURCES" -B "$work/build" -DCMAKE_CXX_COMPILER="$CXX" -DLIBIPC_TESTS=OFF >"$work/log"
  "$CMAKE" --install "$BUILD" --prefix "$work/prefix" >/dev/null
  changed=$(find "$SOURCES" -name .git -prune -o -type d -exec test -e '{}/CMakeCache.txt' \; -prune -o \
    -newer "$work/stamp" -type f -print)
  [ -z "$changed" ] || { echo "$changed" && false; }
  ;;
*)
  echo "no step $step" >&2
  exit 2
  ;;
esac
rm -rf "$work"
