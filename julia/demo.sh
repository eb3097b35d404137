#!/usr/bin/env bash
# Shows the main job on real input: C++ streams recorded sound into a running Julia, and back; the C++ program is changed,
# rebuilt and started again while the same Julia goes on; the library is changed, rebuilt and exchanged, and the sender is
# killed, during the stream; then both go at full speed. Exit status 0 only if all was right.
#   julia/demo.sh [FILE.wav...]    16-bit mono; the default is the voices that alsa-utils brings
# Installs what is missing, and builds libipc unless LIBIPC_LIBRARY names one. What Julia does: examples/sound/listen.jl.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
sound=$checkout/julia/examples/sound
say() { printf '\n== %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

bash "$checkout/cmake/install_packages.sh" g++ cmake ninja-build libfmt-dev libuv1-dev alsa-utils
julia=$(bash "$checkout/julia/deps/install_julia.sh")

work=$(mktemp -d "${TMPDIR:-/tmp}/libipc-demo-XXXXXX")
clean_up() {
    local running
    running=$(jobs -pr)
    # shellcheck disable=SC2086 # one word each
    if [ -n "$running" ]; then kill -KILL $running || true; fi
    wait
    rm -rf "$work"
}
trap 'clean_up 2>/dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

export IPC_DIR=$work/ipc JULIA_DEPOT_PATH=$work/julia:

# slower SECONDS: more of them on a busy machine
slower() {
    local patience
    . "$checkout/tests/patience.sh" # sets it: 30 on an idle machine
    echo $(($1 * patience / 30))
}
# ended PROCESS SECONDS: waits until it has ended; true if it ended well
ended() {
    local seconds tenths
    seconds=$(slower "$2")
    tenths=$((seconds * 10))
    while kill -0 "$1" 2>/dev/null; do
        [ $((tenths--)) -gt 0 ] || die "$(tr '\0' ' ' <"/proc/$1/cmdline") has not ended after $seconds seconds"
        sleep 0.1
    done
    wait "$1"
}
# reported STEP SECONDS: waits until Julia has reported the step, and sets pid, value and what to what it said
reported() {
    local seconds tenths
    seconds=$(slower "$2")
    tenths=$((seconds * 10))
    until read -r _ pid value what < <(grep "^$1 " "$work/report" 2>/dev/null); do
        kill -0 "$julia_pid" 2>/dev/null || die "Julia has ended before step $1"
        [ $((tenths--)) -gt 0 ] || die "Julia has not come to step $1 after $seconds seconds"
        sleep 0.1
    done
}

compile() { # compile PROGRAM
    g++ -std=c++20 -O2 -I "$checkout/include" "$work/$1.cpp" -o "$work/$1" -L "$folder" -lipc -Wl,-rpath,"$folder"
}
build_id() { readelf -n "$1" | awk '/Build ID:/ { print $3 }'; }

stream() { # stream STEP: sends the sound, and checks what comes back
    "$work/sound_check" shm://sound-back "${wavs[@]}" >"$work/check" &
    local check=$!
    "$work/sound_sender" shm://sound 0 /dev/null "${wavs[@]}" &
    ended $! 60 || die "the sender failed"
    reported "$1" 30
    ended $check 30 || { cat "$work/check"; die "what came back is wrong"; }
    cat "$work/check"
}

repeat() { # repeat TIMES: sets again to the sound so many times
    again=()
    for ((i = 0; i < $1; i++)); do again+=("${wavs[@]}"); done
}

begun=$SECONDS
if [ -z "${LIBIPC_LIBRARY:-}" ]; then
    say "Building libipc"
    folder=$checkout/build
    options=()
    if ! [ -e "$folder/CMakeCache.txt" ]; then options=(-G Ninja -DLIBIPC_TESTS=OFF); fi
    cmake -S "$checkout" -B "$folder" "${options[@]}" >"$work/log" || { cat "$work/log"; die "cmake failed"; }
    quiet=--quiet
    if [ -t 1 ]; then quiet=; fi # ninja redraws one line
    cmake --build "$folder" --target libipc -j "$(nproc)" -- $quiet || die "the build failed"
    export LIBIPC_LIBRARY=$folder/libipc.so
    echo "It is build $(build_id "$LIBIPC_LIBRARY")."
fi
folder=$(dirname "$LIBIPC_LIBRARY")

say "Building three programs with it"
cp "$sound"/*.cpp "$sound"/*.hpp "$work" # the copy may be changed
for program in sound_sender sound_check speed_sender; do compile $program; done
echo "Set up in $((SECONDS - begun)) s."
begun=$SECONDS

wavs=("$@")
if [ $# = 0 ]; then wavs=(/usr/share/sounds/alsa/*.wav); fi

# A copy of the library's source, which will be changed. It is built while the sound streams.
mkdir "$work/library"
cp -r "$checkout"/{CMakeLists.txt,LICENSE,capi,cmake,include,src} "$work/library"
new=$work/library/build
{ cmake -G Ninja -S "$work/library" -B "$new" -DLIBIPC_TESTS=OFF && nice cmake --build "$new" --target libipc; } \
    >"$work/library/log" 2>&1 &
copy_is_built=$!

say "Julia starts, and compiles its package"
"$julia" --startup-file=no --project="$checkout/julia" "$sound/listen.jl" "$work/report" "$new/libipc.so" "${wavs[@]}" &
julia_pid=$!
reported ready 60
first_pid=$pid first_value=$value
[ "$pid" = $julia_pid ] || die "Julia is process $pid, and process $julia_pid was started"

say "C++ streams recorded sound: a frame of 10 ms, 960 raw bytes, every 10 ms"
stream first
first_build=$what
[ "$what" = "$(build_id "$work/sound_sender")" ] || die "Julia heard build $what, which is not what was compiled"

say "The sender's source is changed, and built again; Julia waits in receive meanwhile"
cp "$work/sound_sender.cpp" "$work/before.cpp"
sed -i 's/^constexpr int gain = 128;/constexpr int gain = 64;/' "$work/sound_sender.cpp"
{ diff -U0 "$work/before.cpp" "$work/sound_sender.cpp" || true; } | grep '^[-+]const' || die "the source was not changed"
compile sound_sender
echo "The sender is build $(build_id "$work/sound_sender" | cut -c 1-16) now; Julia has heard $(cut -c 1-16 <<<"$first_build")."

say "The new sender streams into the same Julia"
stream second
[ "$what" != "$first_build" ] || die "the sender's build is the same as before"
[ "$what" = "$(build_id "$work/sound_sender")" ] || die "Julia heard build $what, which is not what was compiled"
[ "$pid $value" = "$first_pid $first_value" ] || die "Julia is process $pid now, with the value $value"
echo "Julia is still process $pid, the value set in it still $value."

ended $copy_is_built 600 || { cat "$work/library/log"; die "the build of the library's copy failed"; }
say "The library's source is changed; during the next stream Julia builds it and goes on with it"
changed=$work/library/src/shm/reception.cpp
cp "$changed" "$work/before.cpp"
sed -i 's/^\(constexpr int packets_a_look\) = .*;/\1 = 256;/' "$changed"
{ diff -U0 "$work/before.cpp" "$changed" || true; } | grep '^[-+]const' ||
    die "the source was not changed"
"$work/sound_check" shm://sound-back "${wavs[@]}" >"$work/check" &
check=$!
repeat 100 # more than the build takes, on a busy machine too
"$work/sound_sender" shm://sound 0 "$work/sent" "${again[@]}" &
sender=$!
reported exchanged 240
[ "$what" = "$(build_id "$new/libipc.so")" ] || die "Julia uses build $what, which is not what was built"

say "The sender is killed with -9, and started again"
kill -0 $sender || die "the sender has ended before the library was exchanged"
{ kill -KILL $sender && wait $sender; } 2>/dev/null || true # the shell would say "Killed", in the middle of it all
reported died 30
read -r received repetitions <<<"$what"
sent=$(stat -c %s "$work/sent")
echo "The sender had sent $sent frames or one more when it was killed; Julia has received $received."
[ "$received" = "$sent" ] || [ "$received" = $((sent + 1)) ] || die "frames are lost"
repeat "$repetitions"
"$work/sound_sender" shm://sound "$received" "$work/sent" "${again[@]}" &
ended $! 60 || die "the sender failed"
reported third 30
ended $check 30 || { cat "$work/check"; die "what came back is wrong"; }
cat "$work/check"

say "As fast as they go, and one each ms; Julia adds up all bytes"
speed() { # speed STEP SIZE INTERVAL
    "$work/speed_sender" shm://speed "$2" 2 "$3" &
    ended $! 60 || die "the sender failed"
    reported "$1" 30
}
speed fast-960 960 0
speed paced-960 960 1000
speed fast-1048576 1048576 0
speed paced-1048576 1048576 1000

ended "$julia_pid" 30 || die "what Julia received was wrong, or not all"
echo "restarts of Julia: $(($(cut -d' ' -f2 "$work/report" | sort -u | wc -l) - 1))"
echo
echo "All was as it must be, in $((SECONDS - begun)) s."
