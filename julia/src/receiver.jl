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

While nobody calls it, senders that come are taken in by Julia's event loop: whenever other tasks may run, as at an idle prompt.
Every verb but [`recv_blocking`](@ref) lets other tasks run now and then, also where messages come faster than they are taken.

Ctrl-C comes out of a verb, of a sender's too, before it has done anything or while it waits: a message was given or comes
again, was sent or was not. In a task in the background, a verb hands it over to what the user waits for, and goes on. Where
such a task does something else, Julia may throw it there, which ends the task; a warning says so, at the latest when the
receiver is used again. One on a thread of its own (`julia/examples/own_thread.jl`) never gets it.

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
        haskey(FROM, from) || rarely(throw_no_start, from)
        options = RawReceiverOptions(sizeof(RawReceiverOptions), FROM[from], IPC_OVERFLOW_BLOCK)
        return verb() do
            handle, watch = open_handle(() -> open_pointer(ipc_receiver_open, String(url), options), true)
            r = finalizer(finish, new(handle, watch, onevent, closed_exception("Receiver")))
            warn_if_open_twice(handle)
            tell_own_senders(handle)
            return r
        end
    end
end

throw_no_start(from) =
    throw(ArgumentError("from=$(repr(from)): it is one of $(join(map(repr, keys(FROM)), ", "))"))

function Receiver(f::Function, url::AbstractString; options...)
    r = Receiver(url; options...)
    try
        return f(r)
    finally
        close(r)
    end
end

# ---- From inside ----

# Ends the view that recv gave out last.
@inline function end_view(h::Handle)
    h.slot.generation += 1
    h.viewing = false
    return ipc_receiver_release(h.pointer, h.current)
end

# Says what is in h.next: a message, an end or a death, which stays there until somebody has had it.
@inline function look(h::Handle)
    h.pending == 0 || return h.pending
    code = ipc_receiver_receive(h.pointer, h.next, 0)
    code > 0 && (h.pending = code)
    return code
end

# The same for who will go on only with a message. The last view ends before: its sender may be waiting for that, and
# a release before a receive is the faster one.
@inline function look_on(h::Handle)
    h.viewing && end_view(h)
    return look(h)
end

# Gives the message that is in h.next, as a view, and ends the last one.
@inline function turn(h::Handle)
    h.viewing && end_view(h)
    h.current, h.next = h.next, h.current
    h.pending = 0
    h.viewing = true
    pointer_from_objref(h.owner) == h.inside || (h.owner = current_task())
    raw = unsafe_load(h.current)
    return Message(raw.data, raw.size % Int, raw.tag, raw.sequence, raw.sender, raw.position, raw.link,
                   raw.flags & IPC_REDELIVERED != 0, raw.flags & IPC_DUPLICATE != 0, raw.flags & IPC_LATE != 0,
                   slot_address(h.slot), h.slot.generation, session.number)
end

# The message in h.next has been copied: ends that and the last view.
@inline function consume(h::Handle)
    h.viewing && end_view(h)
    h.pending = 0
    return ipc_receiver_release(h.pointer, h.next)
end

# ---- recv: one task at a time, nothing copied ----

"""
    recv(r::Receiver; timeout=nothing)

Waits for the next message and returns it as a [`Message`](@ref), a view of the memory that its sender filled. The view is
good until the next `recv` on `r` returns, or begins to wait without a time-out. While it waits, other tasks run. `timeout`
is in seconds; [`TimeoutError`](@ref) is thrown when it has passed. Ends and deaths of senders are passed over. For one
task at a time.

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
    begin_verb(h, timeout)
    code = UNTRIED
    if tryenter(h)
        code = timeout === nothing ? look_on(h) : look(h)
        if code == IPC_MESSAGE
            m = turn(h)
            leave(h)
            return m
        end
        leave(h)
    end
    return recv_slowly(r, timeout, code)
end

@noinline recv_slowly(r::Receiver, timeout, code::Int32) =
    passing_over(timeout === nothing ? attempt_on : attempt, give_view, r, timeout, true, code)

# Waits for a message; ends and deaths of senders go by.
function passing_over(attempt::A, finish::F, r::Receiver, timeout, alone::Bool, code::Int32) where {A,F}
    limit = deadline(timeout)
    while true
        result = await(attempt, finish, r, timeout, limit, alone, code)
        result isa News || return result
        tell(r, result)
        code = UNTRIED
    end
end

# Holding it, as await calls them.
attempt(h::Handle) = locked(() -> look(h), h)
give_view(h::Handle) = locked(() -> turn(h), h)

attempt_on(h::Handle) = locked(() -> look_on(h), h)

# A sender ended or died: the receiver goes on.
@inline function tell(r::Receiver, news::News)
    r.onevent === nothing || r.onevent(news.code == IPC_END ? :end : :died, news.sender)
    return
end

# From inside: what is in h.next is told by whoever gets this.
@inline function take_news(h::Handle)
    news = News(h.pending, unsafe_load(h.next).sender)
    h.pending = 0
    return news
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
    h = r.handle
    h.free === no_slot && add_slot(h)  # so that nothing is allocated between recv and hold
    m = hold(recv(r; timeout=timeout))
    result = try
        f(m)
    catch
        Base.sigatomic_begin()
        alive(m) && release(m)
        Base.sigatomic_end()
        rethrow()
    end
    alive(m) && release(m)
    return result
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
@inline function Sockets.recv(r::Receiver, ::Type{T}; timeout::Union{Nothing,Real}=nothing) where {T}
    isbitstype(element_type(T)) ||
        throw(ArgumentError("recv(r, $T): give String, Vector{T} or T, with a plain-data (isbits) type T"))
    return recv_owned(r, T, timeout)
end

element_type(::Type{String}) = UInt8
element_type(::Type{Vector{T}}) where {T} = T
element_type(::Type{T}) where {T} = T

@inline function recv_owned(r::Receiver, ::Type{T}, timeout) where {T}
    h = r.handle
    begin_verb(h, timeout)
    while true
        if tryenter(h)
            if look(h) == IPC_MESSAGE && unsafe_load(h.next).size == sizeof(T)
                value = unsafe_load(Ptr{T}(unsafe_load(h.next).data))
                consume(h)
                leave(h)
                return value
            end
            leave(h)
        end
        size = await_next(r, timeout)
        size == sizeof(T) || throw_misfit(T, size, sizeof(T))
    end
end

# What is allocated must have the size of the message, which may be another one afterwards.
function recv_owned(r::Receiver, ::Type{T}, timeout) where {T<:Union{String,Vector}}
    while true
        size = await_next(r, timeout)
        each = sizeof(element_type(T))
        each > 0 && size % each == 0 || throw_misfit(T, size, each)
        value = verb(() -> copied_next(T, r.handle, size))
        value === nothing || return value
    end
end

# A copy of the next message if it has this size, or nothing. Where Ctrl-C waits: what is allocated is a safepoint.
function copied_next(::Type{T}, h::Handle, size::Int) where {T}
    value = T === String ? Base._string_n(size) : T(undef, size ÷ sizeof(element_type(T)))
    return GC.@preserve value copy_next(h, Ptr{UInt8}(pointer(value)), size) == size ? value : nothing
end

@noinline throw_misfit(T, size, each) = throw(ArgumentError("the message has $size bytes, which is not the size of $T " *
    "(one $(element_type(T)) has $each); it stays the next one"))

# Waits for the next message, which stays the next one. Returns its size.
@inline function await_next(r::Receiver, timeout)
    h = r.handle
    begin_verb(h, timeout)
    code = UNTRIED
    if tryenter(h)
        code = look(h)
        size = size_of_next(h)
        leave(h)
        code == IPC_MESSAGE && return size
    end
    return await_next_slowly(r, timeout, code)
end
@noinline await_next_slowly(r::Receiver, timeout, code::Int32) =
    passing_over(attempt, size_of_next, r, timeout, true, code)::Int
size_of_next(h::Handle) = unsafe_load(h.next).size % Int

# The size of the next message if it is there, or -1.
@inline function size_if_there(h::Handle)
    tryenter(h) || return -1
    size = look_at_size(h)
    leave(h)
    return size
end
@inline look_at_size(h::Handle) = look(h) == IPC_MESSAGE ? size_of_next(h) : -1

# Copies the next message to where there is room for so many bytes, if it is there and can be done now. Returns its size,
# or -1.
@inline function copy_next(h::Handle, to::Ptr{UInt8}, room::Int)
    tryenter(h) || return -1
    size = look_at_size(h)
    if 0 <= size <= room
        unsafe_copyto!(to, unsafe_load(h.next).data, size)
        consume(h)
    end
    leave(h)
    return size <= room ? size : -1
end

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
    room = sizeof_elements(buffer)
    begin_verb(r.handle, timeout)
    while true
        size = GC.@preserve buffer copy_next(r.handle, Ptr{UInt8}(pointer(buffer)), room)
        size < 0 || return size
        size = await_next(r, timeout)
        size <= room ||
            throw(ArgumentError("the message has $size bytes, and the buffer $room; it stays the next one"))
    end
end

"""
    recv_blocking(r::Receiver; timeout=nothing)

As `recv(r)`, but waits inside the library: the lowest latency, at the price of the thread, on which no other task, timer or
I/O of this Julia runs meanwhile. For a thread or a process of its own; a task that `Threads.@spawn` has started may be on
any thread, also on the first: `julia/examples/own_thread.jl` shows how to choose. Garbage collection is not held up.
`close(r)` from elsewhere ends it with `InvalidStateException`. Ctrl-C ends it with `InterruptException` on the first
thread, the one that gets Ctrl-C; on another, [`LibIPC.interrupt`](@ref) does.

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
        GC.safepoint()
        h.interrupted && throw_interrupted(h)
        if !tryenter(h)
            wait_for_gate(r)
            continue
        end
        code = timeout === nothing ? look_on(h) : look(h)
        if code == IPC_MESSAGE
            m = turn(h)
            leave(h)
            return m
        elseif code > 0
            news = take_news(h)
            leave(h)
            tell(r, news)
            continue
        end
        leave(h)
        code == EAGAIN && (code = block(h, limit))
        if code == ETIMEDOUT || code == EAGAIN
            throw(TimeoutError(in_the_way(r, timeout), timeout))
        elseif code < 0 && code != ECANCELED && code != EINTR
            throw_error(h, code)
        end
    end
end

# Waits in the library for what the next look finds.
@noinline function block(h::Handle, limit::Int64)
    Base.sigatomic_begin()
    code = ECANCELED
    if tryenter(h)
        h.blocking = true
        code = ipc_receiver_receive_gcsafe(h.pointer, h.next, nanoseconds_until(limit))
        h.blocking = false
        code > 0 && (h.pending = code)
        leave(h)
        h.attended || was_used(h)
    end
    Base.sigatomic_end()
    return code
end

# Somebody is or was alone inside, or wants us to stop. Afterwards this blocks the thread it blocked before.
@noinline wait_for_gate(r::Receiver) = on_this_thread(() -> holding(() -> admit(r, true), r.handle))

@noinline function throw_interrupted(h::Handle)
    h.interrupted = false
    throw(InterruptException())
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
    holding(h) do
        is_open(h) || throw_closed(r)
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
@inline function hold(m::Message)
    check(m)
    slot = slot_of(m)
    h = slot.handle::Handle
    h.free === no_slot && add_slot(h)
    if tryenter(h)
        done = hold_inside(h, slot)
        leave(h)
    else
        done = hold_slowly(h, slot)
    end
    done || throw_held()
    return m
end

@inline function hold_inside(h::Handle, slot::Slot)
    fresh = h.free
    (h.slot === slot) & h.viewing & (fresh !== no_slot) || return false
    h.free = fresh.next
    h.slot = fresh
    h.viewing = false
    h.held += 1
    return true
end

@noinline hold_slowly(h::Handle, slot::Slot) =
    quietly(() -> holding(() -> locked(() -> hold_inside(h, slot), h), h))
@noinline throw_held() = throw(ArgumentError("the message is held already"))

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
@inline function release(m::Message)
    check(m)
    slot = slot_of(m)
    h = slot.handle::Handle
    if tryenter(h)
        code = release_inside(h, slot, m)
        leave(h)
    else
        code = release_slowly(h, slot, m)
    end
    code < 0 && throw_error(h, code)
    return
end

@inline function release_inside(h::Handle, slot::Slot, m::Message)
    slot === h.slot && return end_view(h)
    slot.generation += 1
    slot.next = h.free
    h.free = slot
    h.scratch = RawMessage(sizeof(RawMessage), m.data, m.length, m.tag, m.sequence, m.sender, 0, m.link, m.position)
    h.held -= 1
    return ipc_receiver_release(h.pointer, scratch_address(h))
end

@noinline release_slowly(h::Handle, slot::Slot, m::Message) = quietly() do
    holding(h) do
        check(m)
        code = locked(() -> release_inside(h, slot, m), h)
        h.gate & CLOSED != 0 && forget_if_done(h)
        return code
    end
end
