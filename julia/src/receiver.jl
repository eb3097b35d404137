# Receiving.

"""
    Receiver(url; from=:default, onevent=nothing)
    Receiver(f, url; …)

Listens on the channel that `url` names. Senders find it, whichever comes first. The second form closes it when
`f(receiver)` returns. A URL is one of

- `shm://name`: memory of this machine, the fastest, for any number of receivers. Of what follows there is one for each URL:
- `pipe:///path`, `unix:///path`: a FIFO, or a Unix socket, which the receiver makes and removes
- `fd://N`: a pipe or socketpair that was inherited
- `tcp://host:port`, `udp://host:port`: `tcp://:0` takes a free port of this machine, and [`LibIPC.url`](@ref) tells which;
  `tcp://0.0.0.0:4000?allow=10.1.0.0/16` is for other machines, too

`?framing=raw` behind those but `shm` is for programs that know nothing of libipc; `?capacity=64MiB` says how much may wait
here. README and ipc.h say what each promises.

- `from`: where to start. `:default`: with the oldest message that waits, or, beside other receivers, the next one;
  `:oldest`: with the oldest that is still there; `:latest`: with the next one.
- `onevent(kind, sender)` is called when a sender with the id `sender` has ended (`kind` is `:end`) or died (`:died`),
  after its last message, by the task that receives. If it throws, so does the verb that received; the next one goes on.

A receiver is a channel: `take!`, `isready`, `wait`, `fetch` and iteration work as on a `Channel{Vector{UInt8}}`, and may
be used by several tasks; what they return is the caller's own. It goes on when senders end or die, until it is closed.

[`recv`](@ref) is the fast form, for one task at a time: it copies nothing and allocates nothing.

# Examples
```julia
s = Sender("shm://greetings")
Receiver("shm://greetings") do r
    put!(s, "hello")
    String(take!(r))    # "hello"
end

Receiver("tcp://:0") do r
    Sender(LibIPC.url(r)) do s
        put!(s, "hello")
        String(take!(r))    # "hello"
    end
end
```
"""
mutable struct Receiver <: AbstractChannel{Vector{UInt8}}
    handle::Handle
    watch::Watch
    onevent::Any
    exception::Exception  # what a closed one throws
    function Receiver(url::AbstractString; from::Symbol=:default, onevent=nothing)
        haskey(FROM, from) ||
            throw(ArgumentError("from=$(repr(from)): it is one of $(join(map(repr, keys(FROM)), ", "))"))
        options = RawReceiverOptions(sizeof(RawReceiverOptions), FROM[from], IPC_OVERFLOW_BLOCK)
        handle, watch = open_handle(ipc_receiver_open, true, String(url), options)
        r = finalizer(finish, new(handle, watch, onevent, closed_exception("Receiver")))
        warn_if_open_twice(handle)
        tell_own_senders(handle)
        return r
    end
end

function Receiver(f::Function, url::AbstractString; options...)
    r = Receiver(url; options...)
    try
        return f(r)
    finally
        close(r)
    end
end

# ---- One try, from inside ----

# Ends the view that recv gave out last.
@inline function end_view(h::Handle)
    h.slot.generation += 1
    h.viewing = false
    return ipc_receiver_release(h.pointer, message_address(h))
end

@inline function receive(h::Handle)
    h.viewing && end_view(h)
    return ipc_receiver_receive(h.pointer, message_address(h), 0)
end

# The view of what receive(h) has put into h.message.
@inline function give_view(h::Handle)
    raw = h.message
    slot = h.slot
    h.viewing = true
    h.owner = current_task()
    return Message(raw.data, raw.size % Int, raw.tag, raw.sequence, raw.sender, raw.position, raw.link,
                   raw.flags & IPC_REDELIVERED != 0, raw.flags & IPC_DUPLICATE != 0, raw.flags & IPC_LATE != 0,
                   slot_address(slot), slot.generation)
end

# ---- recv: one task at a time, nothing copied ----

"""
    recv(r::Receiver; timeout=nothing)

Waits for the next message and returns it as a [`Message`](@ref), a view of the memory that its sender filled. The view is
good until the next `recv` on `r`. While it waits, other tasks run. `timeout` is in seconds; [`TimeoutError`](@ref) is
thrown when it has passed. Ends and deaths of senders are passed over. For one task at a time.

# Examples
```julia
s, r = Sender("shm://numbers"), Receiver("shm://numbers")
send(s, "12"; tag=1)
m = recv(r; timeout=1)
m.tag, String(m)    # (1, "12")
```
"""
@inline function Sockets.recv(r::Receiver; timeout::Union{Nothing,Real}=nothing)
    h = r.handle
    GC.safepoint()
    code = UNTRIED
    if tryenter(h)
        code = receive(h)
        leave(h)
        code == IPC_MESSAGE && return give_view(h)
    end
    return recv_slowly(r, timeout, code)
end

@noinline recv_slowly(r::Receiver, timeout, code::Int32) = passing_over(attempt_view, give_view, r, timeout, true, code)

# Waits for a message; ends and deaths of senders go by.
function passing_over(attempt::A, finish::F, r::Receiver, timeout, alone::Bool, code::Int32) where {A,F}
    limit = deadline(timeout)
    news(r.handle, code)
    while true
        result = await(attempt, finish, r, timeout, limit, alone, code)
        result isa News || return result
        tell(r, result.code)
        code = UNTRIED
    end
end

# With the lock held: fills h.message.
function attempt_view(h::Handle)
    if h.gate & PENDING != 0
        h.viewing && locked(() -> end_view(h), h)
        h.message = h.peeked
        h.gate &= ~PENDING
        return IPC_MESSAGE
    end
    return news(h, locked(() -> receive(h), h))
end

# Notes who ended or died: the next receive overwrites it.
function news(h::Handle, code::Int32)
    (code == IPC_END || code == IPC_DIED) && (h.peer = h.message.sender)
    return code
end

# A sender ended or died: the receiver goes on.
function tell(r::Receiver, code::Int32)
    r.onevent === nothing || r.onevent(code == IPC_END ? :end : :died, r.handle.peer)
    return nothing
end

"""
    recv(f, r::Receiver; timeout=nothing)

Calls `f(message)` with the next message, which is good until `f` returns, whatever else is received meanwhile. Returns
what `f` returns.

# Examples
```julia
s, r = Sender("shm://lines"), Receiver("shm://lines")
send(s, "one line")
recv(length, r)    # 8
```
"""
function Sockets.recv(f::F, r::Receiver; timeout::Union{Nothing,Real}=nothing) where {F}
    m = hold(recv(r; timeout=timeout))
    try
        return f(m)
    finally
        alive(m) && release(m)
    end
end

"""
    recv(r::Receiver, T; timeout=nothing)

The next message as a value of its own: a `String`, a `Vector{S}` of isbits elements, or one value of an isbits type. If
its size does not fit, an `ArgumentError` says so, and the message stays the next one.

# Examples
```julia
s, r = Sender("shm://values"), Receiver("shm://values")
send(s, 1.5)
send(s, [1, 2, 3])
recv(r, Float64)        # 1.5
recv(r, Vector{Int})    # [1, 2, 3]
```
"""
function Sockets.recv(r::Receiver, ::Type{T}; timeout::Union{Nothing,Real}=nothing) where {T}
    element = element_type(T)
    isbitstype(element) ||
        throw(ArgumentError("recv(r, $T): give String, Vector{T} or T, with a plain-data (isbits) type T"))
    m = recv(r; timeout=timeout)
    size = sizeof(element)
    fits = T === element ? m.length == size : size > 0 && m.length % size == 0
    if !fits
        unreceive(r.handle)
        throw(ArgumentError("the message has $(m.length) bytes, which is not the size of $T (one $element has " *
                            "$size); it stays the next one"))
    end
    value = owned(T, m)
    release(m)
    return value
end

element_type(::Type{String}) = UInt8
element_type(::Type{Vector{T}}) where {T} = T
element_type(::Type{T}) where {T} = T

owned(::Type{String}, m::Message) = String(m)
owned(::Type{Vector{T}}, m::Message) where {T} = copy(reinterpret(T, m))
owned(::Type{T}, m::Message) where {T} = unsafe_load(Ptr{T}(m.data))

"""
    recv!(buffer, r::Receiver; timeout=nothing)

Copies the next message into `buffer`, an array of isbits elements, from its start, and returns the number of bytes. If it
does not fit, an `ArgumentError` says so, and the message stays the next one.

# Examples
```julia
s, r = Sender("shm://blocks"), Receiver("shm://blocks")
send(s, UInt8[1, 2, 3])
buffer = zeros(UInt8, 1024)
recv!(buffer, r)    # 3
```
"""
function recv!(buffer::StridedArray{T}, r::Receiver; timeout::Union{Nothing,Real}=nothing) where {T}
    contiguous(buffer)
    m = recv(r; timeout=timeout)
    room = sizeof_elements(buffer)
    if m.length > room
        unreceive(r.handle)
        throw(ArgumentError("the message has $(m.length) bytes, and the buffer $room; it stays the next one"))
    end
    GC.@preserve buffer unsafe_copyto!(Ptr{UInt8}(pointer(buffer)), m.data, m.length)
    release(m)
    return m.length
end

# The last message received is the next one again.
function unreceive(h::Handle)
    lock(h.lock)
    if h.viewing && h.gate & (PENDING | CLOSED) == 0
        h.viewing = false
        h.slot.generation += 1
        h.peeked = h.message
        h.gate |= PENDING
    end
    unlock(h.lock)
    return
end

"""
    recv_blocking(r::Receiver; timeout=nothing)

As `recv(r)`, but waits inside the library: the lowest latency, at the price of the thread, on which no other task, timer
or I/O of this Julia runs meanwhile. For a thread or a process of its own; a task that `Threads.@spawn` has started may be on
any thread, also on the first. Garbage collection is not held up. `close(r)` from elsewhere ends it with
`InvalidStateException`. Ctrl-C ends it with `InterruptException` on the first thread, the one that gets Ctrl-C; on
another, [`LibIPC.interrupt`](@ref) does.

# Examples
```julia
s, r = Sender("shm://ticks"), Receiver("shm://ticks")
send(s, "tick")
String(recv_blocking(r; timeout=1))    # "tick"
```
"""
function recv_blocking(r::Receiver; timeout::Union{Nothing,Real}=nothing)
    h = r.handle
    limit = deadline(timeout)
    while true
        GC.safepoint()  # where an InterruptException comes out
        if h.interrupted
            h.interrupted = false
            throw(InterruptException())
        end
        if tryenter(h)
            code = try
                h.viewing && end_view(h)
                ipc_receiver_receive_gcsafe(h.pointer, message_address(h), nanoseconds_until(limit))
            finally
                leave(h)
            end
            code == IPC_MESSAGE && return give_view(h)
        else
            # Somebody is or was alone inside, or wants us to stop. Afterwards this blocks the thread it blocked before.
            on_this_thread(() -> lock(h.lock))
            try
                admit(r, true)
                h.gate & PENDING != 0 && attempt_view(h) == IPC_MESSAGE && return give_view(h)
            finally
                unlock(h.lock)
            end
            continue
        end
        if code == IPC_END || code == IPC_DIED
            tell(r, news(h, code))
        elseif code == ETIMEDOUT || code == EAGAIN
            throw(TimeoutError(in_the_way(r, timeout), timeout))
        elseif code != ECANCELED && code != EINTR
            throw_error(h, code)
        end
    end
end

nanoseconds_until(limit::Int64) = limit == typemax(Int64) ? -1 : max(limit - Int64(time_ns()), 0)

"""
    LibIPC.interrupt(r)

Makes the [`recv_blocking`](@ref) that is under way on `r`, on whichever thread, throw `InterruptException`, or else the
next one.

# Examples
```julia
r = Receiver("shm://nothing.comes")
LibIPC.interrupt(r)
try
    recv_blocking(r)
catch e
    e isa InterruptException    # true
end
```
"""
function interrupt(r::Receiver)
    h = r.handle
    lock(h.lock) do
        h.gate & CLOSED == 0 || throw_closed(r)
        h.interrupted = true
        interrupt(h)
    end
    return
end

# ---- Held messages ----

"""
    hold(m::Message)

Keeps `m` beyond the next `recv`, until [`release`](@ref)`(m)`. Returns `m`. Any number may be held, and released in any
order; what is held takes room in its sender's ring.

A held message may be read by any task. It goes back to the task that receives to be released:

# Examples
```julia
s, r = Sender("shm://work"), Receiver("shm://work")
foreach(i -> send(s, [i]; tag=i), 1:3)
done = Channel{Message}(3)
for _ in 1:3
    m = hold(recv(r))
    @async (sum(reinterpret(Int, m)); put!(done, m))
end
foreach(_ -> release(take!(done)), 1:3)
LibIPC.stats(r).held    # 0
```
"""
function hold(m::Message)
    slot = slot_of(m)
    h = slot.handle::Handle
    check(m)
    h.slot === slot && h.viewing ||
        throw(ArgumentError("the message is held already"))
    h.slot = free_slot(h)
    h.viewing = false
    h.held += 1
    return m
end

"""
    release(m::Message)

Gives a message back to its sender: one that is held, or the last one received before its time is over. It must not be used
after that; a second release throws [`StaleMessageError`](@ref). To be called by the task that receives.

# Examples
```julia
s, r = Sender("shm://kept"), Receiver("shm://kept")
send(s, "a"); send(s, "b")
a = hold(recv(r))
b = recv(r)
String(a), String(b)    # ("a", "b")
release(a)
```
"""
function release(m::Message)
    slot = slot_of(m)
    h = slot.handle::Handle
    check(m)
    if tryenter(h)
        code = release_inside(h, slot, m)
        leave(h)
    else
        lock(h.lock)
        try
            check(m)
            code = locked(() -> release_inside(h, slot, m), h)
            h.gate & CLOSED != 0 && forget_if_done(h)
        finally
            unlock(h.lock)
        end
    end
    code < 0 && throw_error(h, code)
    return
end

function release_inside(h::Handle, slot::Slot, m::Message)
    slot === h.slot && return end_view(h)
    slot.generation += 1
    h.scratch = RawMessage(sizeof(RawMessage), m.data, m.length, m.tag, m.sequence, m.sender, 0, m.link, m.position)
    h.held -= 1
    push!(h.free, slot)
    return ipc_receiver_release(h.pointer, scratch_address(h))
end
