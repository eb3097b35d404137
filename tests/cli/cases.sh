#!/usr/bin/env bash
# cases.sh PATH-OF-IPC CASE: runs one of the cases below in a folder of its own. Every wait has a limit.
set -euo pipefail

command=$1
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../patience.sh"
ipc() { timeout "$patience" "$command" "$@"; }
work=$(mktemp -d)
export IPC_DIR=$work/ipc
mkdir -m 700 "$IPC_DIR"
leave() { # whoever still runs could make a file anew
    local left
    left=$(jobs -p)
    [ -z "$left" ] || { kill $left; kill -CONT $left; wait; } 2>/dev/null || true
    rm -rf "$work"
}
trap leave EXIT
cd "$work"

fail() { echo "$*" >&2; exit 1; }
same() { cmp "$1" "$2" || fail "$1 and $2 differ"; }
is() { [ "$1" = "$2" ] || fail "expected: $2"$'\n'"got:      $1"; }
exits() { # exits CODE COMMAND...
    local code=0
    "${@:2}" || code=$?
    is "$code" "$1"
}
until_true() { # until_true COMMAND...
    for _ in $(seq $((50 * patience))); do
        if "$@"; then return; fi
        sleep 0.02
    done
    fail "not so after $patience s: $*"
}
own_handles() { # those of this case: others run beside it
    local line pid
    ipc list --json | while IFS= read -r line; do
        pid=$(sed -E 's/.*"pid":([0-9]+),"program".*/\1/' <<<"$line")
        if grep -qzx "IPC_DIR=$IPC_DIR" "/proc/$pid/environ" 2>/dev/null; then printf '%s\n' "$line"; fi
    done
}
listed_in_folder() { # listed_in_folder NAME [COUNT]: so many names of the channel t begin so
    [ "$(ls "$IPC_DIR/t" 2>/dev/null | grep -c "^$1")" -ge "${2-1}" ]
}
listed() { own_handles | grep "$1" >/dev/null; } # not -q: who still writes then would fail
random_file() { head -c "$2" /dev/urandom >"$1"; }

case_a_receiver_that_comes_second_gets_all() {
    random_file sent 5000000
    ipc send shm://t sent &
    until_true listed '"role":"sender"'
    ipc recv shm://t --until-end >got
    wait $!
    same sent got
}

case_a_receiver_that_comes_first_gets_all() {
    random_file sent 5000000
    ipc recv shm://t --until-end >got &
    until_true listed '"role":"receiver"'
    ipc send shm://t <sent
    wait $!
    same sent got
}

case_tar_goes_through_a_channel_whichever_side_starts_first() {
    mkdir folder
    random_file folder/one 100000
    echo two >folder/two
    tar c folder | ipc send shm://t &
    until_true listed '"role":"sender"'
    ipc recv shm://t --until-end | tar t >names
    wait $!
    is "$(sort names | xargs)" "folder/ folder/one folder/two"
    { ipc recv shm://t --until-end | tar t >names; } &
    until_true listed '"role":"receiver"'
    tar c folder | ipc send shm://t
    wait $!
    is "$(sort names | xargs)" "folder/ folder/one folder/two"
}

case_each_transport_takes_standard_input_in_messages_that_fit() {
    random_file sent 100000 # of udp, what a socket holds without being read
    local url
    for url in "shm://small?capacity=64KiB" "pipe://$work/fifo" "unix://$work/socket"; do
        ipc send "$url" <sent &
        ipc recv "${url%%\?*}" --until-end >got
        wait $!
        same sent got
    done
    for url in tcp udp; do
        ipc recv $url://127.0.0.1:0 --until-end >got &
        local receiver=$!
        until_true is_listed 1
        url=$(own_handles | grep -o "$url://127.0.0.1:[0-9]*")
        ipc send "$url" <sent
        wait $receiver
        same sent got
    done
}

case_stats_say_how_much_came_and_what_is_missing() {
    printf '1\n2\n3\n' | ipc send shm://t --lines &
    ipc recv shm://t --until-end --stats >got 2>words
    wait $!
    grep -Eqx '3 messages, 6 B, [0-9.]+ s, [0-9.]+ [KMG]?i?B/s' words || fail "$(cat words)"
    ipc recv udp://127.0.0.1:0 --count 2 --stats >got 2>words &
    local receiver=$!
    until_true is_listed 1
    local port
    port=$(own_handles | grep -o 'udp://127.0.0.1:[0-9]*')
    port=${port##*:}
    printf 'not a frame of ours' >"/dev/udp/127.0.0.1/$port"
    printf '1\n2\n' | ipc send "udp://127.0.0.1:$port" --lines
    wait $receiver
    grep -q ', 1 foreign$' words || fail "$(cat words)"
}

case_progress_shows_the_time_left_on_a_terminal_and_nowhere_else() {
    needs script
    head -c 20000000 /dev/zero >sent
    ipc recv shm://t --until-end 2>words | { sleep 0.5; cat >got; } & # long enough for a line of progress
    timeout "$patience" script -qec "$command send shm://t sent" /dev/null >screen </dev/null
    wait $!
    same sent got
    grep -Eq '[0-9.]+ [KM]iB, [0-9.]+ [KMG]iB/s, [0-9]+ s left' screen || fail "$(cat -v screen)"
    is "$(cat words)" ""
}

case_recv_that_lacks_memory_for_a_ring_says_so_and_waits_for_it() {
    needs prlimit
    { echo small; head -c 20000000 /dev/zero | tr '\0' x; } >sent
    (ulimit -Sv 60000; exec "$command" recv shm://t --until-end >got 2>words) &
    local receiver=$!
    until_true listed '"role":"receiver"'
    ipc send "shm://t?max_capacity=256MiB" --lines sent &
    until_true grep -q 'no memory is to be had' words
    prlimit --as=unlimited --pid $receiver
    wait %2
    wait %1
    same sent got
}

case_several_files_go_one_after_the_other_into_a_file() {
    random_file one 70000
    random_file two 3
    ipc send shm://t one two &
    ipc recv shm://t --until-end --to got >out
    wait $!
    cat one two >sent
    same sent got
    is "$(wc -c <out)" 0
}

case_a_line_is_a_message_with_its_newline_and_tag() {
    printf 'a\n\nlast' | ipc send shm://t --lines --tag 7 &
    ipc recv shm://t --json --until-end >got
    wait $!
    is "$(grep -o '"sequence.*' got | sed -E 's/"time":"[^"]*"/TIME/')" \
        '"sequence":1,"tag":"7",TIME,"redelivered":false,"duplicate":false,"late":false,"size":2,"hex":"610a","text":"a\n"}
"sequence":2,"tag":"7",TIME,"redelivered":false,"duplicate":false,"late":false,"size":1,"hex":"0a","text":"\n"}
"sequence":3,"tag":"7",TIME,"redelivered":false,"duplicate":false,"late":false,"size":4,"hex":"6c617374","text":"last"}'
}

case_json_keeps_each_bit_of_a_tag_and_tells_text_and_time() {
    printf 'gr\303\274n\n\377\n' | ipc send shm://t --lines --tag 18446744073709551615 &
    local before
    before=$(date -u +%FT%T)
    ipc recv shm://t --json --until-end >got
    wait $!
    python3 - "$before" "$(date -u +%FT%T.9Z)" <<'END'
import json, sys
green, other = (json.loads(line) for line in open("got"))
assert green["tag"] == "18446744073709551615", green
assert green["text"] == "gr\u00fcn\n" and green["hex"] == "6772c3bc6e0a", green
assert other["text"] is None and other["hex"] == "ff0a", other
assert sys.argv[1] <= green["time"] <= other["time"] <= sys.argv[2], (sys.argv, green, other)
END
}

case_a_file_is_not_touched_before_the_channel_is_open() {
    echo old >file
    exits 1 ipc recv shm://no/name --to file 2>words
    exits 2 ipc recv shm://t --count none --to file 2>words
    is "$(cat file)" old
    exits 1 ipc recv unix:///proc/nowhere --to new 2>words
    [ ! -e new ] || fail "it was made"
}

case_a_dash_for_a_file_is_standard_output() {
    echo hello | ipc send shm://t &
    is "$(ipc recv shm://t --until-end --to -)" hello
    wait $!
    [ ! -e ./- ] || fail "a file is called -"
}

case_an_input_without_a_line_is_waited_for_by_who_sends_it() {
    ipc send shm://t --lines /dev/null &
    until_true listed '"role":"sender"'
    is "$(ipc recv shm://t --until-end)" ""
    wait $!
    ipc recv shm://t --until-end >got &
    until_true listed '"role":"receiver"'
    ipc send shm://t --lines /dev/null
    wait $!
    exits 124 ipc send shm://t --lines --timeout 0.1 /dev/null 2>words
    is "$(cat words)" "ipc send: nothing was taken for 0.1 s; nothing was sent on shm://t"
}

case_an_empty_input_is_an_empty_message() {
    echo one >one
    echo three >three
    ipc send shm://t one /dev/null three &
    ipc recv shm://t --json --until-end >got
    wait $!
    is "$(grep -o '"size":[0-9]*' got | xargs)" "size:4 size:0 size:6"
    true | ipc send shm://t &
    ipc recv shm://t --count 1 >got
    is "$(wc -c <got)" 0
    wait $!
}

case_until_end_waits_for_as_many_senders_as_it_is_told() {
    ipc recv shm://t --until-end --senders 2 >got &
    local receiver=$!
    echo 1 | ipc send shm://t
    until_true test -s got
    kill -0 $receiver || fail "one end was enough"
    echo 2 | ipc send shm://t
    wait $receiver
    is "$(xargs <got)" "1 2"
}

case_a_timeout_ends_a_wait_in_which_nothing_goes_on() {
    exits 124 ipc recv shm://t --timeout 0.1 2>words
    is "$(cat words)" "ipc recv: nothing came on shm://t for 0.1 s"
    echo 1 | exits 124 ipc send shm://t --lines --timeout 0.1 2>words
    is "$(cat words)" "ipc send: nothing was taken for 0.1 s; of 1 messages sent on shm://t, 1 are lost: no receiver was there"
    head -c 1000000 /dev/zero >zeros
    exits 124 ipc send "shm://t?capacity=64KiB" --size 1000 --timeout 0.1 zeros 2>words
    grep -q "^ipc send: nothing was taken for 0.1 s; of [0-9]* messages" words || fail "$(cat words)"
    echo 1 | ipc send shm://t &
    is "$(ipc recv shm://t --until-end --timeout "$patience")" 1
    wait $!
}

on_a_terminal() { # on_a_terminal ARGUMENT...: the command on a terminal, which is shown in screen
    exec timeout "$patience" script -qfec "$command $*" screen >/dev/null </dev/null
}

case_whoever_waits_on_a_terminal_is_told_that_nobody_is_there() {
    needs script
    (on_a_terminal recv shm://t --count 1 --to got) &
    until_true grep -q "ipc recv: no sender on shm://t now; waiting for one" screen
    echo 1 | ipc send shm://t
    wait $!
    mkfifo input
    (on_a_terminal send shm://u input) &
    exec 3>input
    until_true grep -q "ipc send: no receiver on shm://u now; waiting for one" screen
    echo 2 >&3
    exec 3>&-
    is "$(ipc recv shm://u --until-end)" 2
    wait $!
    (on_a_terminal recv shm://t --quiet --timeout 1) &
    wait $! || true
    is "$(grep -c waiting screen)" 0
}

case_progress_goes_on_where_little_comes() {
    needs script
    mkfifo input
    ipc send shm://t --lines input &
    local sender=$!
    exec 3>input
    (on_a_terminal recv shm://t --until-end --to got) 3>&- & # or the input would not end before it
    local receiver=$! bytes
    for bytes in 3 6 9; do
        echo 12 >&3
        until_true grep -q $'\e\[K'"$bytes B, " screen
    done
    exec 3>&-
    wait $sender
    wait $receiver
    is "$(wc -c <got)" 9
}

case_size_cuts_the_input_into_messages() {
    random_file sent 2500
    ipc send shm://t --size 1000 sent &
    ipc recv shm://t --json --until-end >got
    wait $!
    is "$(grep -o '"size":[0-9]*' got | xargs)" "size:1000 size:1000 size:500"
    local size
    for size in 2048 2k 2KB 2KiB '2 kib'; do
        ipc send shm://t --size "$size" sent &
        ipc recv shm://t --json --until-end >got
        wait $!
        is "$(grep -o '"size":[0-9]*' got | xargs)" "size:2048 size:452"
    done
    ipc send --help | grep -q -- '--size SIZE  ' || fail "$(ipc send --help)"
}

case_a_message_that_its_channel_does_not_take_is_told_by_how_much() {
    printf hello >sent
    exits 1 ipc send udp://127.0.0.1:4000 --size 1MiB sent 2>words
    is "$(cat words)" "ipc: cannot send a message of 1048576 bytes on udp://127.0.0.1:4000, which takes 65443 at most"
    head -c 70000 /dev/zero >sent
    exits 1 ipc send "shm://t?capacity=64KiB" --lines sent 2>words
    is "$(cat words)" "ipc: cannot send a message of 70000 bytes on shm://t?capacity=64KiB, which takes 32768 at most"
}

case_hex_shows_bytes_as_hexdump_does() {
    printf 'Hello,\nworld of bytes' | ipc send shm://t &
    ipc recv shm://t --hex --until-end | tail -n +2 >got
    wait $!
    is "$(cat got)" '00000000  48 65 6c 6c 6f 2c 0a 77 6f 72 6c 64 20 6f 66 20  |Hello,.world of |
00000010  62 79 74 65 73                                   |bytes|'
}

case_count_takes_so_many_and_leaves_the_rest() {
    printf '1\n2\n3\n' | ipc send shm://t --lines &
    is "$(ipc recv shm://t --count 2 | xargs)" "1 2"
    is "$(ipc recv shm://t --count 1)" "3"
    wait $!
}

case_an_interrupted_receiver_ends_and_its_successor_gets_the_rest() {
    timeout "$patience" "$command" recv shm://t --to got & # the function's subshell would get the signal
    local receiver=$!
    until_true listed '"role":"receiver"'
    kill -INT $receiver
    exits 130 wait $receiver
    echo rest | ipc send shm://t &
    is "$(ipc recv shm://t --until-end)" rest
    wait $!
}

case_the_exit_status_says_which_signal_ended_it() {
    local word
    for word in "TERM 143" "INT 130"; do
        timeout "$patience" "$command" recv shm://t >got &
        until_true listed '"role":"receiver"'
        kill -"${word% *}" $!
        exits "${word#* }" wait $!
        mkfifo input
        exec 3<>input
        timeout "$patience" "$command" send shm://t input 2>words &
        until_true listed '"role":"sender"'
        kill -"${word% *}" $!
        exits "${word#* }" wait $!
        is "$(cat words)" "ipc send: interrupted; nothing was sent on shm://t"
        rm input
    done
}

case_a_signal_that_was_ignored_from_the_start_is_ignored_still() {
    "$command" recv shm://t --until-end >got & # by bash, as it is in the background of a script
    local receiver=$!
    until_true listed '"role":"receiver"'
    kill -INT $receiver
    echo hello | ipc send shm://t
    wait $receiver
    is "$(cat got)" hello
}

case_an_interrupted_sender_says_what_is_lost_and_dies_for_its_receivers() {
    mkfifo input
    exec 3<>input
    timeout "$patience" "$command" send shm://t --lines input 2>words &
    local sender=$!
    printf '1\n2\n3\n' >&3
    until_true listed '"role":"sender".*"messages":3,'
    kill -INT $sender
    exits 130 wait $sender
    is "$(cat words)" "ipc send: interrupted; of 3 messages sent on shm://t, 3 are lost: no receiver was there"

    timeout "$patience" "$command" send shm://t --lines input 2>words &
    sender=$!
    echo 4 >&3
    ipc recv shm://t --until-end >got 2>said &
    local receiver=$!
    until_true listed '"role":"sender".*"messages":1,.*"backlog":0,'
    kill -INT $sender
    exits 130 wait $sender
    exits 3 wait $receiver
    is "$(cat got)" 4
    is "$(cat words)" "ipc send: interrupted; of 1 messages sent on shm://t, all are received"
}

case_a_sender_that_is_killed_ends_the_receiver_with_three() {
    mkfifo open
    ipc recv shm://t --until-end >got 2>words &
    local receiver=$!
    "$command" send shm://t open &
    local sender=$!
    exec 3>open
    printf part >&3
    until_true test -s got
    kill -KILL $sender
    exits 3 wait $receiver
    is "$(cat got)" part
    grep -q "died" words || fail "not told: $(cat words)"
}

case_an_inherited_pipe_ends_also_if_nobody_wrote() {
    printf '1\n2\n' | ipc send fd://1 --lines | ipc recv fd://0 --until-end >got
    is "$(xargs <got)" "1 2"
    exits 1 ipc recv fd://0 --until-end </dev/null 2>words
    grep -q "neither a pipe nor a socket" words || fail "$(cat words)"
    nobody() { true | exits "$1" ipc recv "$2" --until-end 2>words; }
    nobody 3 fd://0
    grep -q "before a sender had said who it is" words || fail "$(cat words)"
    nobody 0 'fd://0?framing=raw'
    is "$(cat words)" ""
}

case_a_full_disk_is_an_error_and_loses_nothing() {
    [ -c /dev/full ] || exit 77
    echo precious | ipc send shm://t &
    exits 1 ipc recv shm://t --to /dev/full 2>words
    grep -q "No space left" words || fail "not told: $(cat words)"
    is "$(ipc recv shm://t --until-end)" precious
    wait $!
}

case_a_closed_or_full_output_is_an_error_and_loses_nothing() {
    printf hello | ipc send shm://t &
    exits 1 ipc recv shm://t --count 1 <&- >&- 2>words
    grep -q 'cannot write to standard output' words || fail "words: $(cat words)"
    exits 1 ipc send shm://u <&- 2>words
    exits 1 ipc --version >/dev/full 2>words
    exits 1 ipc list >/dev/full 2>words
    grep -q 'cannot write to standard output' words || fail "words: $(cat words)"
    is "$(ipc recv shm://t --count 1)" hello
    wait $!
}

case_words_that_nobody_hears_end_nothing() {
    exec 3> >(true)
    wait $!
    each() { # each CODE COMMAND...: with standard error full, closed, and a pipe that nobody reads
        local full=0 closed=0 unread=0
        "${@:2}" 2>/dev/full || full=$?
        "${@:2}" 2>&- || closed=$?
        "${@:2}" 2>&3 || unread=$?
        is "$full $closed $unread" "$1 $1 $1"
    }
    each 1 ipc recv shm://no/name
    each 2 ipc recv shm://t --hex --json
    each 124 ipc recv shm://t --timeout 0.1
    each 0 ipc list shm://three-of-nobody
    echo hello >sent
    each 124 ipc send shm://t --timeout 0.1 sent
    arrives() {
        ipc send shm://t sent &
        ipc recv shm://t --count 1 --stats --to got && wait $! && same sent got
    }
    each 0 arrives
}

case_what_is_wrong_is_said_in_words() {
    exits 1 ipc recv shm://no/name 2>words
    grep -q "^ipc: cannot open a receiver on .shm://no/name.: the channel's name has ./. at place 3" words || fail "$(cat words)"
    exits 1 ipc send shm://t missing 2>words
    grep -q "cannot open missing: No such file" words || fail "$(cat words)"
    exits 2 ipc 2>words
    exits 2 ipc recv shm://t --hex --json 2>words
    exits 2 ipc send 2>words
    exits 2 ipc send shm://t --tag -1 2>words </dev/null
    exits 2 ipc recv shm://t --count 0 2>words
    exits 2 ipc lst 2>words
    is "$(cat words)" "ipc: there is no command lst; did you mean list?
The commands are send, recv, list; \`ipc --help\` says more."
    exits 0 ipc --help >words
    grep -q "Exit status" words || fail "no exit codes in the help"
}

case_names_with_control_characters_harm_no_terminal() {
    local bad=$'a\e[31m\nb' each
    exits 1 ipc send shm://t "$bad" 2>words
    is "$(cat words)" "ipc: cannot open a?[31m?b: No such file or directory"
    exits 1 ipc recv shm://t --to "no/$bad" 2>words
    is "$(cat words)" "ipc: cannot open no/a?[31m?b: No such file or directory"
    exits 1 ipc recv "unix:///proc/$bad" 2>words
    exits 0 ipc list "shm://$bad" 2>>words
    exits 2 ipc list "$bad" 2>>words
    exits 2 ipc "$bad" 2>>words
    exits 2 ipc list "--$bad" 2>>words
    is "$(grep -c 'a?\[31m?b' words)" 5
    "$command" recv "unix://$work/$bad" &
    until_true test -S "$bad"
    ipc list >>words
    is "$(grep -c $'\e' words || true)" 0
    exits 1 ipc send shm://t $'\xc2\x9b2J' 2>words
    is "$(cat words)" "ipc: cannot open ??2J: No such file or directory"
}

case_the_example_for_another_machine_listens_to_it() {
    local url
    url=$(ipc --help | grep -o 'ipc recv "*tcp://[^" ]*' | sed 's/.*tcp/tcp/; s/:4000/:0/')
    "$command" recv "$url" --until-end >got &
    until_true is_listed 1
    local port
    port=$(own_handles | sed -En 's/.*"url":"tcp:[^"]*:([0-9]+)".*/\1/p')
    grep -q " 00000000:$(printf %04X "$port") " /proc/net/tcp || fail "$url listens to this machine alone"
}

case_a_wrong_command_line_is_told_what_its_command_takes() {
    wrong() { # wrong WORDS ARGUMENT...
        exits 2 ipc "${@:2}" 2>words
        is "$(head -1 words)" "$1"
        tail -1 words | grep -q -- '--help` says more.$' || fail "$(cat words)"
    }
    local each
    wrong "ipc: a command is missing"
    wrong "ipc: there is no command frobnicate" frobnicate
    wrong "ipc: there is no command receive; did you mean recv?" receive shm://t
    wrong "ipc: there is no command sending; did you mean send?" sending
    wrong "ipc: there is no option --versoin; did you mean --version?" --versoin
    wrong "ipc send: a URL is missing: the channel's, as in shm://camera" send
    grep -q "ipc send .*URL" words || fail "$(cat words)"
    wrong "ipc recv: there is no option --til-end; did you mean --until-end?" recv shm://t --til-end
    for each in 0 2GB 64xb -1 KiB 1.5MB 5i; do
        wrong "ipc send: --size: $each is no size from 1 byte to 1 GiB; write bytes, or a number with KiB or MiB, as in 64KiB" \
            send shm://t --size $each
    done
    wrong "ipc recv: --timeout is to be followed by SECONDS" recv shm://t --timeout
    wrong "ipc recv: --to is to be followed by FILE" recv shm://t --to
    wrong "ipc send: --tag is to be followed by NUMBER" send shm://t --tag
    wrong "ipc send: --size is to be followed by SIZE" send shm://t --size
    wrong "ipc recv: --to: no file has an empty name" recv shm://t --to ""
    wrong "ipc send: FILE: no file has an empty name" send shm://t one ""
    wrong "ipc list: --watch takes no value" list --watch=3
    wrong "ipc send: --lines takes no value" send shm://t --lines=false
    wrong "ipc recv: more is one argument too many" recv shm://t more
    wrong "ipc recv: --count: 0 is no number from 1 to 2^64 - 1" recv shm://t --count 0
    wrong "ipc recv: --timeout: nan is no number of seconds from 0 to 1e9" recv shm://t --timeout nan
    wrong "ipc recv: --senders requires --until-end" recv shm://t --senders 2
    for each in send recv list; do wrong "ipc $each: URL: camera is no URL; write shm://camera" $each camera; done
}

case_list_shows_one_channel_alone() {
    "$command" recv shm://one &
    "$command" recv shm://two &
    until_true is_listed 2
    is "$(ipc list 'shm://one?from=latest' --json | grep -c "\"url\":\"shm://one\".*\"folder\":\"$IPC_DIR\"")" 1
    is "$(ipc list shm://one --json | grep -c shm://two || true)" 0
    is "$(ipc list shm://three-of-nobody 2>&1 | head -1)" "no handle on shm://three-of-nobody of this user is open, in whichever runtime folder"
}

case_list_watches_until_it_is_ended() {
    timeout "$patience" "$command" list shm://watched --watch --json >got 2>words &
    local watch=$!
    "$command" recv shm://watched &
    until_true grep -q shm://watched got
    kill -TERM $watch
    exits 143 wait $watch
    needs script
    (on_a_terminal list shm://watched --watch) &
    twice() { [ "$(grep -c $'\e\[H\e\[J' screen)" -ge 2 ]; }
    until_true twice
    grep -q shm://watched screen || fail "$(cat -v screen)"
}

completes() { # completes SHELL SETUP
    "$command" recv shm://camera-of-test &
    until_true is_listed 1
    PATH=$(dirname "$command"):$PATH timeout $((2 * patience)) python3 "$here/completion.py" "$1" "$2" "$patience" \
        'said recv shm://camera-of\t' 'said send shm://camera-of\t' 'said li\t' 'said recv --until\t' 'said list --w\t' >got
    is "$(cat got)" "recv shm://camera-of-test
send shm://camera-of-test
list
recv --until-end
list --watch"
}

case_bash_completes_what_follows_a_colon() {
    completes bash "source $here/../../src/cli/completion.bash; complete -F _ipc said"
}

case_zsh_completes_what_follows_a_colon() {
    needs zsh
    mkdir functions
    cp "$here/../../src/cli/completion.zsh" functions/_ipc
    completes zsh "fpath=($PWD/functions \$fpath); autoload -Uz compinit; compinit -u -D; compdef _ipc said"
}

case_completion_knows_every_option() {
    local subcommand option shell
    for subcommand in send recv list; do
        for option in $(ipc $subcommand --help | grep -o -- '--[a-z-]*'); do
            for shell in bash zsh; do
                grep -q -- "$option" "$here/../../src/cli/completion.$shell" || fail "$shell: $subcommand $option"
            done
        done
    done
}

list_of() { # list_of TEXT: what ipc list shows of the channels with this text, without the others
    ipc list | awk -v text="$1" 'NR == 1 || /^[^ ]/ { here = NR == 1 || index($0, text) } here'
}

case_list_shows_a_stopped_sender_with_its_backlog() {
    mkfifo open
    "$command" send shm://stopped open &
    local sender=$!
    exec 3>open
    printf '%1000s' >&3
    until_true listed '"url":"shm://stopped","folder":"'"$IPC_DIR"'","role":"sender".*"messages":1,"bytes":1000'
    kill -STOP $sender
    list_of "$IPC_DIR" >table
    is "$(sed -n 2p table)" "shm://stopped  in $IPC_DIR"
    sed -n 3p table | grep -Eq "^ sender +$sender ipc +1 +1000 B +1.0 KiB +1.0 MiB +[0-9]+ m?s$" || fail "$(cat table)"
    is "$(sed -n 4p table)" "   no receiver is connected"
    kill -KILL $sender
}

case_list_shows_each_link_from_both_sides_within_eighty_columns() {
    mkfifo open
    "$command" send "shm://linked?capacity=64KiB" --size 10000 open &
    local sender=$!
    exec 3>open
    mkfifo stuck
    "$command" recv shm://linked --to stuck &
    local receiver=$!
    exec 4<>stuck
    until_true listed '"role":"receiver".*"state":"up"'
    head -c 30000 /dev/zero >&3
    until_true listed '"role":"sender".*"bytes":30000'
    kill -STOP $receiver
    head -c 1000000 /dev/zero >&3 &
    behind() { list_of "$IPC_DIR" | grep -Eq "^   to +$receiver ipc +behind [0-9.]+ KiB"; }
    until_true behind
    kill -STOP $sender
    list_of "$IPC_DIR" >table
    is "$(wc -l <table)" 6
    grep -Eq "^   from +$sender ipc +behind [0-9.]+ KiB" table || fail "$(cat table)"
    [ "$(wc -L <table)" -le 80 ] || fail "wider than 80: $(cat table)"
    kill -KILL $sender $receiver
}

case_list_says_who_cannot_be_met_from_here() {
    "$command" recv shm://apart &
    mkdir -m 700 elsewhere
    IPC_DIR=$work/elsewhere "$command" recv shm://apart &
    both() { is "$(ipc list --json | grep -c "\"folder\":\"$work/")" 2; }
    until_true both
    list_of "$work/" >table
    is "$(sed -n 2p table)" "shm://apart  in $work/elsewhere"
    is "$(sed -n 3p table)" "   not the runtime folder of this program, $IPC_DIR: they can't meet"
    is "$(grep -c 'not the runtime folder' table)" 1
    is "$(grep '^shm' table | tail -1)" "shm://apart  in $IPC_DIR"
}

case_list_says_how_many_processes_it_could_not_look_at() {
    if [ "$(id -u)" = 0 ]; then exit 77; fi # root may look at all
    cp "$command" unreadable
    chmod 111 unreadable # whoever may not read a program may not look at its processes
    hidden() { ipc list 2>&1 >/dev/null | sed -nE "s/^([0-9]+) more process.* of this user can't be looked at.*/\1/p"; }
    ./unreadable recv shm://unseen &
    until_true test -e "$IPC_DIR/unseen"
    [ "$(hidden)" -ge 1 ] || fail "$(ipc list 2>&1)"
    ipc list 2>/dev/null | grep shm://unseen && fail "it is listed"
    rm unreadable
}

case_send_ends_when_the_reader_of_its_pipe_has_gone() {
    mkfifo input
    exec 3<>input # nothing comes of it
    exits 1 ipc send fd://4 <&3 4> >(true) 2>words
    grep -q 'other end of its fd:// is closed' words || fail "$(cat words)"
}

case_list_shows_what_was_lost_on_both_sides() {
    "$command" recv tcp://127.0.0.1:0 --to first &
    local receiver=$!
    until_true is_listed 1
    local url
    url=tcp://127.0.0.1:$(port_of_receiver)
    mkfifo open
    "$command" send "$url" --lines open 2>words &
    local sender=$!
    exec 3>open
    echo 1 >&3
    until_true test -s first
    until_true listed '"role":"receiver".*"held":0'
    kill -STOP $receiver # what comes now, the system takes, and nobody reads
    printf '2\n3\n4\n5\n6\n' >&3
    until_true listed '"role":"sender".*"messages":6,'
    kill -KILL $receiver
    wait $receiver || true # its port is free then
    "$command" recv "$url" --to second 3>&- &
    until_true listed '"role":"receiver".*"lost":5,"layout'
    until_true listed '"role":"sender".*"lost":5,"layout'
    is "$(list_of "$url" | grep -c 'lost 5$')" 4
    exec 3>&-
    exits 1 wait $sender
    grep -q '5 messages on .* were lost' words || fail "$(cat words)"
}

# ---- Programs that know nothing of libipc, on the other end: bare bytes, and files, sockets and ports closed after -----

needs() {
    if ! type -P "$1" >/dev/null; then echo "skipped: no $1"; exit 77; fi
}
is_listed() { # is_listed COUNT: so many handles are open
    [ "$(own_handles | wc -l)" = "$1" ]
}
all_closed() { # all_closed FILE...: none of the files is there, and no handle is open
    local file
    for file; do [ ! -e "$file" ] || fail "$file is still there"; done
    is "$(own_handles)" ""
}
receives() { # receives URL: into got, in the background; $peer is its process
    ipc recv "$1?framing=raw" --until-end >got &
    peer=$!
    until_true is_listed 1
}
sends() { # sends URL: what is in sent
    ipc send "$1?framing=raw" sent
}
port_in() { # port_in FILE: the port that a program says there it listens on
    until_true grep -qi 'listening on .*[0-9]$' "$1"
    sed -En 's/.*[Ll]istening on .*[ :]([0-9]+)$/\1/p;' "$1"
}
port_of_receiver() { own_handles | sed -En 's/.*"tcp:\/\/127\.0\.0\.1:([0-9]+)".*/\1/p'; }

case_cat_writes_into_a_fifo() {
    random_file sent 1000000
    receives "pipe://$work/fifo"
    timeout "$patience" sh -c 'cat sent >fifo'
    wait "$peer"
    same sent got
    all_closed fifo
}

case_a_fifo_that_is_opened_for_each_line_loses_none() {
    timeout "$patience" "$command" recv "pipe://$work/fifo?framing=raw" >got & # the function's subshell would get the signal
    local receiver=$!
    until_true is_listed 1
    local start writers=()
    for start in 10001 20001 30001; do
        timeout "$patience" bash -c 'for n in $(seq $0 $(($0 + 4999))); do echo $n >fifo; done' $start &
        writers+=($!)
    done
    for start in "${writers[@]}"; do wait "$start" || fail "a writer lost its reader"; done
    all_came() { [ "$(wc -l <got)" = 15000 ]; }
    until_true all_came
    is "$(sort -u got | wc -l)" 15000
    kill -INT $receiver
    exits 130 wait $receiver
    all_closed fifo
}

case_dd_writes_into_a_fifo_that_is_there_in_odd_blocks() {
    random_file sent 300001
    mkfifo fifo
    receives "pipe://$work/fifo"
    timeout "$patience" dd if=sent of=fifo bs=777 2>words
    wait "$peer"
    same sent got
    [ -p fifo ] || fail "the receiver has removed a FIFO that it did not make"
    all_closed
}

case_cat_reads_what_is_sent_into_a_fifo() {
    random_file sent 1000000
    mkfifo fifo
    timeout "$patience" sh -c 'cat fifo >got' &
    sends "pipe://$work/fifo"
    wait $!
    same sent got
    all_closed
}

case_nc_speaks_to_a_unix_socket() {
    needs nc
    random_file sent 1000000
    receives "unix://$work/socket"
    timeout "$patience" nc -N -U socket <sent
    wait "$peer"
    same sent got
    all_closed socket
}

case_nc_listens_on_a_unix_socket() {
    needs nc
    random_file sent 1000000
    timeout "$patience" nc -l -U socket >got &
    sends "unix://$work/socket"
    wait $!
    same sent got
    all_closed
}

case_nc_speaks_to_a_tcp_port() {
    needs nc
    random_file sent 1000000
    receives tcp://127.0.0.1:0
    local port
    port=$(port_of_receiver)
    timeout "$patience" nc -N 127.0.0.1 "$port" <sent
    wait "$peer"
    same sent got
    exits 1 timeout "$patience" nc -z 127.0.0.1 "$port"
    all_closed
}

case_nc_listens_on_a_tcp_port() {
    needs nc
    random_file sent 1000000
    timeout "$patience" nc -l -v -n 127.0.0.1 0 >got 2>words &
    sends "tcp://127.0.0.1:$(port_in words)"
    wait $!
    same sent got
    all_closed
}

case_socat_speaks_to_a_unix_socket() {
    needs socat
    random_file sent 1000000
    receives "unix://$work/socket"
    timeout "$patience" socat -u OPEN:sent UNIX-CONNECT:socket
    wait "$peer"
    same sent got
    all_closed socket
}

case_socat_listens_on_a_unix_socket() {
    needs socat
    random_file sent 1000000
    timeout "$patience" socat -u UNIX-LISTEN:socket CREATE:got &
    sends "unix://$work/socket"
    wait $!
    same sent got
    all_closed
}

case_socat_speaks_to_a_tcp_port() {
    needs socat
    random_file sent 1000000
    receives tcp://127.0.0.1:0
    timeout "$patience" socat -u OPEN:sent "TCP:127.0.0.1:$(port_of_receiver)"
    wait "$peer"
    same sent got
    all_closed
}

case_socat_listens_on_a_tcp_port() {
    needs socat
    random_file sent 1000000
    timeout "$patience" socat -u -d -d TCP-LISTEN:0,bind=127.0.0.1 CREATE:got 2>words &
    sends "tcp://127.0.0.1:$(port_in words)"
    wait $!
    same sent got
    all_closed
}

# Programs that have nothing to say shut that way of a connection at once, and listen all the same.

case_nc_listens_on_a_unix_socket_and_says_nothing() {
    needs nc
    random_file sent 3000000
    timeout "$patience" nc -N -l -U socket >got </dev/null &
    sends "unix://$work/socket"
    wait $!
    same sent got
    all_closed
}

case_nc_listens_on_a_tcp_port_and_says_nothing() {
    needs nc
    random_file sent 3000000
    timeout "$patience" nc -N -l -v -n 127.0.0.1 0 >got 2>words </dev/null &
    sends "tcp://127.0.0.1:$(port_in words)"
    wait $!
    same sent got
    all_closed
}

case_socat_listens_on_a_tcp_port_and_says_nothing() {
    needs socat
    random_file sent 3000000
    timeout "$patience" socat -t "$patience" -d -d TCP-LISTEN:0,bind=127.0.0.1 - >got 2>words </dev/null &
    sends "tcp://127.0.0.1:$(port_in words)"
    wait $!
    same sent got
    all_closed
}

case_two_that_speak_to_a_port_at_once_are_told_apart() {
    needs nc
    random_file one 200000
    random_file two 200000
    ipc recv tcp://127.0.0.1:0?framing=raw --json --until-end >got &
    peer=$!
    until_true is_listed 1
    mkfifo open
    timeout "$patience" nc -N 127.0.0.1 "$(port_of_receiver)" <open &
    local slow=$!
    exec 3>open
    head -c 1000 one >&3
    until_true test -s got
    timeout "$patience" nc -N 127.0.0.1 "$(port_of_receiver)" <two
    tail -c +1001 one >&3
    exec 3>&-
    wait $slow
    wait "$peer"
    is "$(grep -o '"sender":"[0-9a-f]*"' got | sort -u | wc -l)" 2
    local first
    first=$(head -1 got | grep -o '"sender":"[0-9a-f]*"')
    hex() { sed -E 's/.*"hex":"([0-9a-f]*)".*/\1/' | tr -d '\n'; }
    is "$(grep "$first" got | hex | cksum)" "$(od -An -v -tx1 one | tr -d ' \n' | cksum)"
    is "$(grep -v "$first" got | hex | cksum)" "$(od -An -v -tx1 two | tr -d ' \n' | cksum)"
    all_closed
}

# ---- A program that was written by somebody who had src/shm/PROTOCOL.md, and nothing else -------------------------------

page_client() { needs python3; timeout "$patience" python3 "$here/page_client.py" "$@"; }
files_of_all_sizes() { # many small ones, so that a ring of 64 KiB goes around, and some for which it has to grow
    : >0
    for n in $(seq 300); do head -c $((n * 7)) /dev/urandom >"$n"; done
    head -c 20000 /dev/urandom >301
    head -c 3000000 /dev/urandom >302
    head -c 100 /dev/urandom >303
}
sums() { for n in $(seq 0 303); do sha256sum <"$n" | cut -d ' ' -f 1; done; }

case_a_program_written_from_the_page_receives_messages_of_all_sizes() {
    files_of_all_sizes
    page_client recv t >got &
    peer=$!
    until_true listed_in_folder r
    for n in $(seq 0 303); do printf '%s\n' "$(base64 -w0 "$n")"; done >lines
    ipc send "shm://t?capacity=64KiB&max_capacity=64MiB" --lines <lines
    wait "$peer"
    is "$(sed -n '$p' got | cut -d ' ' -f 1)" end
    is "$(sed '$d' got | cut -d ' ' -f 5)" "$(while IFS= read -r line; do printf '%s\n' "$line" | sha256sum | cut -d ' ' -f 1; done <lines)"
    is "$(sed '$d' got | cut -d ' ' -f 2 | tr '\n' ' ')" "$(seq 304 | tr '\n' ' ')"
    all_closed
}

case_a_program_written_from_the_page_sends_messages_of_all_sizes() {
    files_of_all_sizes
    page_client send t $(seq 0 303) &
    peer=$!
    ipc recv shm://t --json --until-end >got
    wait "$peer"
    python3 -c 'import hashlib, json, sys
for line in map(json.loads, sys.stdin):
    if "hex" in line: print(hashlib.sha256(bytes.fromhex(line["hex"])).hexdigest())' <got >sums
    is "$(cat sums)" "$(sums)"
    all_closed
}

case_the_death_of_a_program_written_from_the_page_is_told_of() {
    random_file big 30000
    mkfifo never
    needs python3
    python3 "$here/page_client.py" send t big never &
    peer=$!
    (exits 3 ipc recv shm://t --until-end >got) &
    until_true test -s got
    kill -9 "$peer"
    wait "$peer" 2>/dev/null || true
    wait $!
    same big got
}

case_a_program_written_from_the_page_is_told_of_a_death() {
    page_client recv t >got &
    peer=$!
    until_true listed_in_folder r
    mkfifo lines
    "$command" send shm://t --lines <lines &
    local sender=$!
    exec 3>lines
    echo one >&3
    until_true test -s got
    kill -9 "$sender"
    wait "$sender" 2>/dev/null || true
    exec 3>&-
    wait "$peer"
    is "$(cut -d ' ' -f 1 <<<"$(sed -n '$p' got)")" died
}

case_a_program_written_from_the_page_and_the_command_both_get_everything() {
    random_file sent 30000
    page_client recv t >one &
    local first=$!
    ipc recv shm://t --until-end >two &
    local second=$!
    until_true listed_in_folder 'r.*' 2
    ipc send shm://t sent
    wait $first
    wait $second
    same sent two
    is "$(sed -n 1p one | cut -d ' ' -f 5)" "$(sha256sum <sent | cut -d ' ' -f 1)"
}

"$2"
