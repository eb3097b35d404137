"""
Raw bytes between processes, as fast as memory allows. [`Sender`](@ref) and [`Receiver`](@ref) are channels that reach
into other processes:

    s = Sender("shm://camera")          # in one process, of Julia, C++ or C
    r = Receiver("shm://camera")        # in another
    put!(s, [1.0, 2.0])
    reinterpret(Float64, take!(r))

`send` and `recv` are the fast forms of `put!` and `take!`, without a copy.
"""
module LibIPC

using FileWatching: FDWatcher, FolderMonitor
using Libdl: dlclose, dlopen, dlpath, dlsym, RTLD_DEEPBIND, RTLD_LOCAL, RTLD_NOW
using Sockets: Sockets, recv, send

export Receiver, Sender, Message
export recv, recv!, recv_blocking, send, eachmessage, hold, release
export IPCError, TimeoutError, StaleMessageError, SenderDied

include("raw.jl")
include("errors.jl")
include("library.jl")
include("handle.jl")
include("watch.jl")
include("waiting.jl")
include("message.jl")
include("broadcasting.jl")
include("receiver.jl")
include("sender.jl")
include("opening.jl")
include("channel.jl")
include("telling.jl")
include("eachmessage.jl")
include("reload.jl")
include("leaving.jl")

function __init__()
    begin_session()
    register_barrier()
    atexit(close_all)
    return
end

include("precompile.jl")

end
