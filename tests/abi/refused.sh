#!/usr/bin/env bash
# refused.sh COMPILER INCLUDE: what ipc.hpp does not let a program say, and why, in the compiler's words.
set -euo pipefail
compiler=$1 include=$2
wrong=0

compile() { # compile STATEMENT
  "$compiler" -std=c++20 -fsyntax-only -I"$include" -x c++ - 2>&1 <<CODE
#include <ipc/ipc.hpp>
struct alignas(64) small { char x[64]; };
struct alignas(64) large { char x[256]; };
struct alignas(128) strict { char x[256]; };
void f(ipc::sender &s, ipc::message &m, std::error_code &error) { $1; }
CODE
}
accepted() { compile "$1" || { echo "does not compile: $1" >&2; wrong=1; }; }
refused() { # refused STATEMENT WORDS
  local said
  if said=$(compile "$1"); then
    echo "compiles: $1" >&2
    wrong=1
  elif ! grep -q "error: static assertion failed: $2" <<<"$said"; then
    echo "refused in other words: $1: $said" >&2
    wrong=1
  fi
}

accepted 's.send(large()); (void)m.as<large>(); (void)m.as_span<small>(); s.send(std::vector<small>(4))'
aligned='a message is aligned to 16 bytes, and to 64 from 256 bytes on'
refused 's.send(small())' "$aligned"
refused 's.send(small(), 0, ipc::forever, error)' "$aligned"
refused 's.send(strict())' "$aligned"
refused 's.send(std::vector<strict>(4))' "$aligned"
refused 's.send(std::vector<strict>(4), 0, ipc::forever, error)' "$aligned"
refused '(void)m.as<small>()' "$aligned"
refused '(void)m.as<strict>(error)' "$aligned"
refused '(void)m.as_span<strict>()' "$aligned"
refused '(void)m.as_span<strict>(error)' "$aligned"
exit $wrong
