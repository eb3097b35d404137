# Completion of `ipc` for bash: subcommands, options, and the channels that are open now.
_ipc() {
    # Of the line, and not of COMP_WORDS: bash takes a colon for the end of a word, and channels have one in them.
    local line=${COMP_LINE:0:COMP_POINT} words word previous command
    word=${line##*[[:space:]]}
    read -ra words <<<"${line%"$word"}"
    command=${words[1]-} previous=${words[-1]}
    COMPREPLY=()
    case $command:$previous:$word in
        :*) _ipc_of "send recv list --help --version" ;;
        *:--size:* | *:--tag:* | *:--count:* | *:--senders:* | *:--timeout:*) ;;
        recv:--to:*) _ipc_files ;;
        send:*:-*) _ipc_of "--size --lines --tag --timeout --quiet --help" ;;
        recv:*:-*) _ipc_of "--hex --json --count --to --until-end --senders --timeout --stats --quiet --help" ;;
        list:*:-*) _ipc_of "--json --watch --help" ;;
        send:*) _ipc_of "$(_ipc_channels)"; _ipc_files ;;
        recv:* | list:*) _ipc_of "$(_ipc_channels)" ;;
    esac
    # What is offered goes in place of what follows the last colon.
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    fi
}
_ipc_of() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$word"); }
_ipc_files() { mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$word"); }
_ipc_channels() { ipc list --json 2>/dev/null | sed 's/^{"url":"\([^"]*\)".*/\1/' | sort -u; }
complete -F _ipc ipc
