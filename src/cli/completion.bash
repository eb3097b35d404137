# Completion of `ipc` for bash: subcommands, options, and the channels that are open now.
_ipc() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "send recv list --help --version" -- "$word")
        return
    fi
    case $command:$previous in
        *:--size | *:--tag | *:--count) return ;;
        recv:--to) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    esac
    case $command:$word in
        send:-*) mapfile -t COMPREPLY < <(compgen -W "--size --lines --tag --quiet --help" -- "$word") ;;
        recv:-*) mapfile -t COMPREPLY < <(compgen -W "--hex --json --count --to --until-end --stats --quiet --help" -- "$word") ;;
        list:-*) mapfile -t COMPREPLY < <(compgen -W "--json --help" -- "$word") ;;
        send:* | recv:*)
            mapfile -t COMPREPLY < <(
                compgen -W "$(ipc list --json 2>/dev/null | sed 's/^{"url":"\([^"]*\)".*/\1/' | sort -u)" -- "$word"
                if [ "$command" = send ]; then compgen -f -- "$word"; fi
            )
            # Readline takes a colon for the end of a word.
            if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$word"; fi
            ;;
    esac
}
complete -F _ipc ipc
