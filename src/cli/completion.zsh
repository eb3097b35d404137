#compdef ipc
# Completion of `ipc` for zsh: subcommands, options, and the channels that are open now.
_ipc_channels() {
    local -a channels
    channels=(${(fu)"$(ipc list --json 2>/dev/null | sed 's/^{"url":"\([^"]*\)".*/\1/')"})
    compadd "$@" -a channels
}
if (( CURRENT == 2 )); then
    compadd -- send recv list --help --version
    return
fi
local command=$words[2]
shift words
(( CURRENT-- ))
case $command in
    send) _arguments '1:channel:_ipc_channels' '*:file:_files' '--size:bytes: ' --lines '--tag:number: ' \
        '--timeout:seconds: ' --quiet --help ;;
    recv) _arguments '1:channel:_ipc_channels' '(--json)--hex' '(--hex)--json' '--count:number: ' '--to:file:_files' \
        --until-end '--senders:number: ' '--timeout:seconds: ' --stats --quiet --help ;;
    list) _arguments '1:channel:_ipc_channels' --json --watch --help ;;
esac
