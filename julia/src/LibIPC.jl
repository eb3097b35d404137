"""
Raw bytes between processes, as fast as memory allows: through shared memory, and through pipes and sockets by the same
calls. [`Sender`](@ref) and [`Receiver`](@ref) are channels that reach into other processes:

    s = Sender("shm://camera")          # in one process, of Julia, C++ or C
    r = Receiver("shm://camera")        # in another
    put!(s, [1.0, 2.0])
    reinterpret(Float64, take!(r))

- Receive a copy, in any number of tasks: `take!(r)`, `fetch(r)`, `isready(r)`, `wait(r)`, `for bytes in r`
- Receive without a copy, in one task: [`recv`](@ref)`(r)`, [`eachmessage`](@ref)`(r)`; [`hold`](@ref) and
  [`release`](@ref) keep a message for longer
- Receive values, or into a buffer: `recv(r, T)`, [`recv!`](@ref)`(buffer, r)`
- Receive with a time-out: `recv(r; timeout=seconds)` throws a [`TimeoutError`](@ref)
- Get the newest message: `recv(r)` until `isready(r)` is false
- Receive on a thread of its own: [`recv_blocking`](@ref)`(r)`, ended by [`LibIPC.interrupt`](@ref)`(r)`
- Send, in any number of tasks: `put!(s, data)`
- Send fast, in one task: [`send`](@ref)`(s, data; tag=0)`; `send(f, s, nbytes)` fills the memory that receivers read
- End: `close(s; linger=seconds)`, `flush(s)`, `close(r)`
- See who is there: [`LibIPC.channels`](@ref)`()`, [`LibIPC.links`](@ref)`(x)`, [`LibIPC.stats`](@ref)`(x)`,
  [`LibIPC.url`](@ref)`(x)`
- Exchange the library: [`LibIPC.reload!`](@ref)`()`, [`LibIPC.autoreload!`](@ref)`()`, [`LibIPC.library!`](@ref)`(path)`,
  [`LibIPC.library`](@ref)`()`, [`LibIPC.version`](@ref)`()`

What goes wrong is thrown as [`IPCError`](@ref), [`TimeoutError`](@ref), [`StaleMessageError`](@ref), [`SenderDied`](@ref),
`LibIPC.ConcurrencyError` or `LibIPC.LibraryError`; a closed handle throws `InvalidStateException`, as a closed `Channel` does.
"""
module LibIPC

# Whatever is no user's business, so that `LibIPC.` and tab show what is.
module Internals

using FileWatching: FDWatcher, FolderMonitor
using Libdl: dlclose, dlopen, dlpath, dlsym, RTLD_DEEPBIND, RTLD_LOCAL, RTLD_NOW
using Sockets: Sockets, recv, send

include("raw.jl")
include("errors.jl")
include("library.jl")
include("handle.jl")
include("watch.jl")
include("attending.jl")
include("turns.jl")
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
    attendant.epoll = -1
    register_barrier()
    loader[] = current_task()
    atexit(close_all)
    return
end

include("precompile.jl")

end

import .Internals: Receiver, Sender, Message
import .Internals: recv, recv!, recv_blocking, send, eachmessage, hold, release
import .Internals: IPCError, TimeoutError, StaleMessageError, SenderDied
export Receiver, Sender, Message
export recv, recv!, recv_blocking, send, eachmessage, hold, release
export IPCError, TimeoutError, StaleMessageError, SenderDied

# What is exported is shown by tab at `LibIPC.`, and so is what is the module's own, but not what it imports.
const channels, links, stats, url, interrupt =
    Internals.channels, Internals.links, Internals.stats, Internals.url, Internals.interrupt
const reload!, autoreload!, library!, library, version =
    Internals.reload!, Internals.autoreload!, Internals.library!, Internals.library, Internals.version
const LibraryError, ConcurrencyError = Internals.LibraryError, Internals.ConcurrencyError
VERSION >= v"1.11" && eval(Meta.parse("""
    public channels, links, stats, url, interrupt, reload!, autoreload!, library!, library, version, LibraryError,
           ConcurrencyError"""))

end
