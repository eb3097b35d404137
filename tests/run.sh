#!/usr/bin/env bash
# Builds the library, and runs every test of it. See usage below.
set -euo pipefail

usage() {
    cat <<'END'
usage: tests/run.sh [--plain] [--all] [-R REGEX]

Installs what is missing (Debian packages by apt-get, with sudo if need be; a Julia of its own if there is none),
builds into build/ (plain, with Julia's tests), build/address (address and undefined-behaviour sanitizers) and
build/thread (thread sanitizer), and runs every test of each. The last line is `N passed, N failed`.

  --plain    only the plain build, no sanitizers
  --all      also what takes minutes: a thousand more runs beside the model of ipc.h, a kill at each instruction and not
             at a sample of them, a cut at each byte, and a minute of soak, and of each fuzzer
  -R REGEX   only tests with a name that matches

Root hides faults of modes, user ids and limits. So, started as root, it runs all as a user of its own, except for the
few tests that need two users.
END
}

plain=no all=no
only=()
while [ $# -gt 0 ]; do
    case $1 in
        --plain) plain=yes; shift ;;
        --all) all=yes; shift ;;
        -R) only=(-R "${2:?-R needs a regular expression}"); shift 2 ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

checkout=$(cd "$(dirname "$0")/.." && pwd)
packages=(g++ cmake ninja-build pkg-config libfmt-dev libuv1-dev doctest-dev libcli11-dev nlohmann-json3-dev alsa-utils
    strace netcat-openbsd socat curl python3 python3-jsonschema valgrind zsh)
bash "$checkout/cmake/install_packages.sh" "${packages[@]}"

# ---- Who runs the tests, and where -----------------------------------------------------------------------------------

work=$(mktemp -d "${TMPDIR:-/tmp}/libipc-tests-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/home" "$work/tmp"

user=() # a command before each of those that run as the tests' user
if [ "$(id -u)" = 0 ]; then
    # One for each checkout, so that two runs at once share no limit that is counted by user. Debian gives these numbers
    # to nobody.
    uid=$((50000 + $(cksum <<<"$checkout" | cut -d' ' -f1) % 9000))
    user=(setpriv --reuid "$uid" --regid "$uid" --clear-groups --inh-caps=-all)
    "${user[@]}" true || die "Root can't become user $uid here: run this as an unprivileged user."
    say "The tests run as user $uid"
    chown -R "$uid" "$work"
    chmod 711 "$work" "$work/tmp" # the second of two users has to come through
    if ! "${user[@]}" test -r "$checkout/CMakeLists.txt"; then
        copy=/var/cache/libipc/tests-$uid
        echo "This user has no access to $checkout, and works on a copy: $copy"
        mkdir -p "$copy"
        find "$copy" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
        tar -C "$checkout" --exclude=./build --exclude=./.git -c . | tar -C "$copy" -x
        chmod 755 "$copy"
        checkout=$copy
    fi
    mkdir -p "$checkout/build"
    chown -hR "$uid" "$checkout/build"
    trap 'chown -hR --reference="$checkout" "$checkout/build"; rm -rf "$work"' EXIT
fi
cd "$checkout"

ulimit -Sn 1024 # what a user has

environment=(TMPDIR="$work/tmp" JULIA_DEPOT_PATH="$work/julia:")
if [ ${#user[@]} -gt 0 ]; then environment+=(HOME="$work/home" XDG_CACHE_HOME= XDG_CONFIG_HOME=); fi
as_user() { "${user[@]}" env "${environment[@]}" IPC_DIR="$work/ipc" "$@"; }
as_root() { env "${environment[@]}" IPC_DIR="$work/ipc-root" "$@"; }

# ---- Building and testing --------------------------------------------------------------------------------------------

results=$work/results # a line for each test: what came of it, seconds, build, name, and why it was skipped
problems=() # what is no test and went wrong

count() { grep -c "^${1-}" "$results" || true; }
problem() { problems+=("$1"); }

# What ninja and ctest print, less what is not news: how far they are (on a terminal on one line, elsewhere every ten
# seconds), what the compiler says, and what a failing test says.
show() {
    local line shown=$SECONDS
    local step='^\[([0-9]+/[0-9]+)\] (.*)' passed='^ *([0-9]+/[0-9]+) Test +#[0-9]+: (.*[^ .])[ .]+Passed '
    while IFS= read -r line; do
        if [[ $line =~ $step || $line =~ $passed ]]; then
            if [ -t 1 ]; then
                printf '\r\e[K%s %.60s' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
            elif [ $((SECONDS - shown)) -ge 10 ]; then
                shown=$SECONDS
                echo "${BASH_REMATCH[1]}"
            fi
        elif [[ $line =~ ^[0-9]+%\ tests\ passed ]]; then
            break # what comes now is told at the end, for all builds
        elif ! [[ $line =~ ^(\ +Start\ .*|Internal ctest .*|Test project .*|No tests were found!!!|ninja: .*|)$ ]]; then
            if [ -t 1 ]; then printf '\r\e[K'; fi
            printf '%s\n' "$line"
        fi
    done
    if [ -t 1 ]; then printf '\r\e[K'; fi
    cat >/dev/null
}

build() { # build FOLDER CMAKE-OPTION...
    local start=$SECONDS
    if ! as_user CMAKE_GENERATOR=Ninja cmake -S . -B "$1" -DLIBIPC_TESTS=ON "${@:2}" >"$work/log" 2>&1; then
        cat "$work/log"
    elif as_user cmake --build "$1" -j "$(nproc)" 2>&1 | show; then
        echo "Built in $((SECONDS - start)) s."
        return
    fi
    problem "$1 was not built."
    return 1
}

run_tests() { # run_tests AS FOLDER CTEST-OPTION...
    local xml=$2/Testing/results.xml
    rm -f "$xml"
    "$1" ctest --test-dir "$2" -j $((2 * $(nproc))) --timeout 900 --output-on-failure \
        --output-junit Testing/results.xml "${only[@]}" "${@:3}" 2>&1 | show || true
    if ! [ -e "$xml" ]; then problem "ctest gave no results for $2."; return; fi
    awk -v folder="$2" '
        function finish() { if (name != "") printf "%s\t%.1f\t%s\t%s\t%s\n", result, seconds, folder, name, why; name = "" }
        /<testcase / {
            finish()
            split($0, part, /" [a-z]+="/)
            name = part[1]; seconds = part[3]; why = ""
            sub(/^[^"]*"/, "", name); gsub(/&quot;/, "\"", name); gsub(/&lt;/, "<", name); gsub(/&gt;/, ">", name)
            gsub(/&apos;/, "\047", name); gsub(/&amp;/, "\\&", name)
            result = part[4] ~ /^run"/ ? "passed" : "failed"
        }
        /<skipped message="SKIP_/ { result = "skipped" }
        result == "skipped" && /skipped:/ { why = $0; sub(/.*skipped: */, "", why) }
        END { finish() }
    ' "$xml" >>"$results"
}

test_build() { # test_build TITLE FOLDER CMAKE-OPTION...
    say "$1: $2"
    build "${@:2}" || return 0
    local start=$SECONDS before
    before=$(count)
    if [ ${#user[@]} -gt 0 ]; then
        run_tests as_user "$2" -LE root
        run_tests as_root "$2" -L root
    else
        run_tests as_user "$2"
    fi
    echo "Ran $(($(count) - before)) tests in $((SECONDS - start)) s."
}

# Root's own Julia may lie where the tests' user has no access.
find_julia() {
    if ! as_user julia --startup-file=no -e 0 >/dev/null 2>&1; then PATH=/usr/sbin:/usr/bin:/sbin:/bin; fi
    bash julia/deps/install_julia.sh
}

touch "$results"
test_build "Plain, with Julia" build -DLIBIPC_JULIA="$(find_julia)"
if [ $plain = no ]; then
    test_build "Address and undefined-behaviour sanitizers" build/address -DLIBIPC_SANITIZE=address
    test_build "Thread sanitizer" build/thread -DLIBIPC_SANITIZE=thread
fi

# also NAME COMMAND...: what is no test of ctest, and told as one. Its last lines are shown.
also() {
    local start=$SECONDS result=passed
    say "$1"
    if ! as_user "${@:2}" >"$work/log" 2>&1; then result=failed; fi
    tail -n 40 "$work/log"
    printf '%s\t%d.0\tbuild\t%s\t\n' $result $((SECONDS - start)) "$1" >>"$results"
}
if [ $all = yes ]; then
    also "process: a thousand more runs beside the model" env IPC_MODEL_SEED=1000 IPC_MODEL_RUNS=1000 \
        build/tests/process/process --no-intro --test-case="whatever is called, in whichever order*"
    also "kill_points: at each instruction" build/tests/kill_points/kill_points
    also "process: each cut, and more strangers" env LIBIPC_ALL=1 build/tests/process/process --no-intro \
        --source-file="*cuts.cpp,*strangers.cpp"
    [ $plain = yes ] || also "fuzz: a minute of each" tests/fuzz/run.sh 60
    also "soak: a minute" bash -c 'cmake --build build --target soak && exec build/tests/soak/soak 60'
fi

# ---- What came of it -------------------------------------------------------------------------------------------------

left=$(find "$work/tmp" "$work"/ipc* -mindepth 1 ! -type d 2>/dev/null || true)
[ -z "$left" ] || problem "Left behind by tests: $left"
if [ ${#user[@]} -gt 0 ]; then
    left=$(find /proc -maxdepth 1 -user "$uid" -name '[0-9]*' -printf '%f ' 2>/dev/null || true)
    [ -z "$left" ] || problem "Processes left behind by tests: $left"
fi

columns() { awk -F'\t' '{ printf "%8.1f s  %-13s  %s%s\n", $2, $3, $4, $5 == "" ? "" : " (" $5 ")" }'; }
tell() { # tell TITLE: lines of results, if there are any
    local lines
    lines=$(columns)
    if [ -n "$lines" ]; then printf '\n%s\n%s\n' "$1" "$lines"; fi
}
sort -t$'\t' -k2,2rn "$results" | sed -n 1,5p | tell "Slowest:"
{ grep ^skipped "$results" || true; } | tell "Skipped:"
{ grep ^failed "$results" || true; } | tell "Failed; what they said is above, and in FOLDER/Testing/Temporary/LastTest.log:"
if [ ! -s "$results" ] && [ ${#problems[@]} = 0 ]; then problems+=("There is no test of that name."); fi
if [ ${#problems[@]} -gt 0 ]; then printf '\n%s\n' "${problems[@]}"; fi

failed=$(($(count failed) + ${#problems[@]})) skipped=$(count skipped)
printf '\n%d passed, %d failed' "$(count passed)" $failed
if [ "$skipped" -gt 0 ]; then printf ', %d skipped' "$skipped"; fi
echo
[ $failed = 0 ]
