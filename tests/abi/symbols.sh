#!/usr/bin/env bash
# symbols.sh CHECK LIBRARY SOURCES: one look at the library's file, or at ipc.h; see CMakeLists.txt for what each says.
set -euo pipefail
export LC_ALL=C
check=$1 library=$2 sources=$3
header=$sources/include/ipc/ipc.h map=$sources/capi/libipc.map

# Fails with what is missing (-) and what is too much (+).
same() {
  diff -u --label "$1" --label "$2" <(sort -u <<<"$3") <(sort -u <<<"$4") | tail -n +3
}

dynamic() { readelf -dW "$library" | sed -nE "s/.*\($1\).*\[(.*)\]/\1/p"; }

case $check in
exports)
  declared=$(sed -nE 's/^[a-z].*[ *](ipc_[a-z_]+)\(.*/\1/p' "$header")
  [ "$(wc -l <<<"$declared")" -gt 20 ] # or the declarations are written in another way by now
  mapped=$(awk '$2 == "{" { node = $1 } /^ *ipc_.*;/ { gsub(/[ ;]/, ""); print $0 "@@" node }' "$map")
  exported=$(nm -D --defined-only --with-symbol-versions "$library" | awk '$2 != "A" { print $3 }')
  same "declared in ipc.h" "named in the map" "$declared" "$(sed 's/@@.*//' <<<"$mapped")"
  same "named in the map" "exported by the library" "$mapped" "$exported"
  ;;
soname)
  same wanted there libipc.so.0 "$(dynamic SONAME)"
  ;;
needed)
  needed=$(dynamic NEEDED | grep -vE '^(libc\.so\.6|libm\.so\.6|ld-linux.*\.so\.[0-9]+)$' || true)
  same allowed needed "" "$needed"
  ;;
unique)
  # In the whole symbol table, not only in what is exported.
  symbols=$(readelf -sW "$library")
  grep -q ' FUNC ' <<<"$symbols" # there are symbols at all
  same allowed unique "" "$(awk '$5 == "UNIQUE"' <<<"$symbols")"
  ;;
imports)
  imports=$(nm -D --undefined-only "$library" | awk '{ sub(/@.*/, "", $2); print $2 }')
  grep -qx epoll_wait <<<"$imports" # there are imports at all
  threads='pthread_create|thrd_create|clone|clone3'
  processes='fork|vfork|exec.*|system|popen|posix_spawn.*|daemon|kill|raise|exit|_exit|_Exit|quick_exit'
  # pthread_sigmask: around a write into a pipe, which raises SIGPIPE and has no flag against it.
  signals='signal|sigaction|sigprocmask|sigaltstack|signalfd|setitimer|alarm|timer_create'
  output='printf|puts|putchar|perror|syslog|vprintf'
  settings='setenv|putenv|unsetenv|chdir|fchdir|umask|setrlimit|prctl'
  same allowed imported "" "$(grep -xE "$threads|$processes|$signals|$output|$settings" <<<"$imports" || true)"
  ;;
includes)
  same allowed included "$(printf '<stddef.h>\n<stdint.h>')" "$(sed -nE 's/^ *# *include *//p' "$header")"
  ;;
esac
