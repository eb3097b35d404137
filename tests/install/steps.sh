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

compile_consumers() { # COUNT: of a project with libipc in it, without the minute that the library takes
  python3 - "$work/build/compile_commands.json" "$1" <<'END'
import json, subprocess, sys
programs = [c for c in json.load(open(sys.argv[1])) if "/consumer/consumer.c" in c["file"]]
assert len(programs) == int(sys.argv[2]), programs
for c in programs:
    subprocess.run(c["command"] + " -Werror -fsyntax-only", shell=True, cwd=c["directory"], check=True)
END
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
subproject)
  "$CMAKE" -G "$GENERATOR" -S "$SOURCES/tests/install/parent" -B "$work/build" -DCMAKE_C_COMPILER="$CC" \
    -DCMAKE_CXX_COMPILER="$CXX" -DLIBIPC_SOURCES="$SOURCES" -DFETCHCONTENT_FULLY_DISCONNECTED=ON \
    -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >"$work/log" 2>&1 || { cat "$work/log" && false; }
  diff - "$work/build/report" <<<"type '' targets 'libipc_core;libipc' tests '' folders '' file libipc.so.$VERSION"
  must_not grep -E '^(CMAKE_INSTALL_.*DIR|LIBIPC_TESTS)\b' "$work/build/CMakeCache.txt"
  compile_consumers 2
  "$CMAKE" --install "$work/build" --prefix "$work/prefix" >/dev/null
  must_not test -e "$work/prefix"
  ;;
c_alone)
  cat >"$work/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.21)
project(c_alone LANGUAGES C)
find_package(libipc CONFIG REQUIRED)
add_executable(c_alone $SOURCES/tests/install/consumer/consumer.c)
set_target_properties(c_alone PROPERTIES C_STANDARD 99)
target_link_libraries(c_alone PRIVATE libipc::ipc)
END
  "$CMAKE" -G "$GENERATOR" -S "$work" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$CC" >"$work/log" 2>&1 ||
    { cat "$work/log" && false; }
  "$CMAKE" --build "$work/build" >"$work/log" 2>&1 || { cat "$work/log" && false; }
  "$work/build/c_alone"
  ;;
c_subproject)
  cat >"$work/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.21)
project(c_subproject LANGUAGES C)
add_subdirectory($SOURCES libipc)
add_executable(program $SOURCES/tests/install/consumer/consumer.c)
set_target_properties(program PROPERTIES C_STANDARD 99)
target_link_libraries(program PRIVATE libipc::ipc)
END
  "$CMAKE" -G "$GENERATOR" -S "$work" -B "$work/build" -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" \
    -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >"$work/log" 2>&1 || { cat "$work/log" && false; }
  compile_consumers 1
  ;;
last_words)
  "$CMAKE" --install "$BUILD" --prefix "$work/prefix" >"$work/log"
  option=$(grep -o -- '-Wl,-rpath,[^,]*' "$work/log")
  variable=$(grep -o 'PKG_CONFIG_PATH=[^,]*' "$work/log")
  # shellcheck disable=SC2046 # words of flags
  "$CC" "$SOURCES/tests/install/consumer/consumer.c" -o "$work/consumer" $(env "$variable" pkg-config --cflags --libs libipc) \
    "$option"
  "$work/consumer"
  line() { grep -o "\`$1[^\`]*" "$work/log" | tr -d '`'; } # line START: what is to be put into a file of the shell
  if [ -e "$work/prefix/bin/ipc" ]; then
    bash --norc -c "$(line source); complete -p ipc" >/dev/null
    if type -P zsh >/dev/null; then
      zsh -f -c "$(line fpath); autoload -Uz compinit; compinit -u -D; [ \$_comps[ipc] = _ipc ]"
    fi
  fi
  DESTDIR=$work/stage "$CMAKE" --install "$BUILD" --prefix "$work/prefix" >"$work/log"
  must_not grep -E "rpath|fpath" "$work/log"
  ;;
uninstall)
  "$CMAKE" --install "$BUILD" --prefix "$work/prefix" >/dev/null
  touch "$work/prefix/include/other.h"
  "$CMAKE" --build "$BUILD" --target uninstall >"$work/log"
  diff - <(files "$work/prefix") <<<./include/other.h
  must_not test -e "$work/prefix/include/ipc" -o -e "$work/prefix/$LIBDIR/cmake/libipc"
  must_not "$CMAKE" --build "$BUILD" --target uninstall >"$work/log" 2>&1
  grep -q 'Nothing to remove' "$work/log"
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
