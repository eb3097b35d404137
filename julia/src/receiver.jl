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
    pointer_from_objref(h.views.owner) == h.inside || (h.views.owner = current_task())
    raw = unsafe_load(h.current)
    return Message(raw.data, raw.size % Int, raw.tag, raw.sequence, raw.sender, raw.position, raw.link,
                   raw.flags & IPC_REDELIVERED != 0, raw.flags & IPC_DUPLICATE != 0, raw.flags & IPC_LATE != 0,
                   slot_address(h.slot), h.slot.generation, session.number)
end

@inline size_of_next(h::Handle) = unsafe_load(h.next).size % Int

# Takes the message in h.next as a copy if it has one of these sizes. Returns its size.
@inline function copy_next(h::Handle, to::Ptr, sizes::UnitRange{Int})
    size = size_of_next(h)
    if size in sizes
        copy_to(to, unsafe_load(h.next).data, size)
        consume(h)
    end
    return size
end

# Bytes, or one value, for which no function need be called.
@inline copy_to(to::Ptr{UInt8}, from::Ptr{UInt8}, size::Int) = unsafe_copyto!(to, from, size)
@inline copy_to(to::Ptr{T}, from::Ptr{UInt8}, ::Int) where {T} = unsafe_store!(to, unsafe_load(Ptr{T}(from)))

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
@inline Sockets.recv(r::Receiver; timeout::Union{Nothing,Real}=nothing) = at_once(r, receiving(timeout))

# What waits without a time-out goes on only with a message.
@inline receiving(timeout) = Request(timeout === nothing ? look_on : look, turn, timeout, true)

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
    h.views.free === no_slot && add_slot(h)  # so that nothing is allocated between recv and hold
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
    value = Ref{T}()
    size = GC.@preserve value await_copy(r, Ptr{T}(pointer_from_objref(value)), sizeof(T):sizeof(T), timeout)
    size == sizeof(T) || throw_misfit(T, size, sizeof(T))
    return value[]
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
    copied = GC.@preserve value copy_if_there(h, Ptr{UInt8}(pointer(value)), size)
    return copied ? value : nothing
end

@noinline throw_misfit(T, size, each) = throw(ArgumentError("the message has $size bytes, which is not the size of $T " *
    "(one $(element_type(T)) has $each); it stays the next one"))

# Waits for the next message, which stays the next one. Returns its size.
@inline await_next(r::Receiver, timeout) = at_once(r, Request(look, size_of_next, timeout, true))

# Waits for the next message, and copies it if it has one of these sizes: else it stays the next one. Returns its size.
@inline await_copy(r::Receiver, to::Ptr, sizes::UnitRange{Int}, timeout) =
    at_once(r, Request(look, @inline(h -> copy_next(h, to, sizes)), timeout, true))

# If it is there and can be had now: its size, or -1; and whether it was copied.
@inline size_if_there(h::Handle) = inside(@inline(h -> look(h) == IPC_MESSAGE ? size_of_next(h) : -1), h -> -1, h)
@inline copy_if_there(h::Handle, to::Ptr{UInt8}, size::Int) =
    inside(@inline(h -> look(h) == IPC_MESSAGE && copy_next(h, to, size:size) == size), h -> false, h)

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
    size = GC.@preserve buffer await_copy(r, Ptr{UInt8}(pointer(buffer)), 0:room, timeout)
    size <= room || throw(ArgumentError("the message has $size bytes, and the buffer $room; it stays the next one"))
    return size
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
    check_seconds(timeout)
    see_interrupt(h)
    return attempt_once(Blocking(r), receiving(timeout), h)
end

# A receiver that waits with its thread.
struct Blocking
    receiver::Receiver
end

@noinline function slowly(blocking::Blocking, request::Request, code::Int32)
    r = blocking.receiver
    h = r.handle
    limit = deadline(request.timeout)
    while true
        if code == UNTRIED
            wait_for_gate(r)
        elseif code > 0
            news = inside(take_news, h -> nothing, h)
            news === nothing || tell(r, news)
        else
            code == EAGAIN && (code = block(h, limit))
            (code == ETIMEDOUT || code == EAGAIN) && throw(TimeoutError(in_the_way(r, request.timeout), request.timeout))
            code < 0 && code != ECANCELED && code != EINTR && throw_error(h, code)
        end
        see_interrupt(h)
        result = attempt_once(Once(), request, h)
        result isa Int32 || return result
        code = result
    end
end

# For one attempt, which gives its code if it does not succeed.
struct Once end
slowly(::Once, ::Request, code::Int32) = code

# Ctrl-C, or that of LibIPC.interrupt.
@inline function see_interrupt(h::Handle)
    GC.safepoint()
    h.waits.interrupted && throw_interrupted(h)
    return
end

# Waits in the library for what the next look finds.
function block(h::Handle, limit::Int64)
    Base.sigatomic_begin()
    code = inside(@inline(h -> look_blocking(h, limit)), h -> ECANCELED, h)
    h.turns.attended || was_used(h)
    Base.sigatomic_end()
    return code
end

@inline function look_blocking(h::Handle, limit::Int64)
    h.waits.blocking = true
    code = ipc_receiver_receive_gcsafe(h.pointer, h.next, nanoseconds_until(limit))
    h.waits.blocking = false
    code > 0 && (h.pending = code)
    return code
end

# Somebody is or was alone inside, or wants us to stop. Afterwards this blocks the thread it blocked before.
@noinline wait_for_gate(r::Receiver) = on_this_thread(() -> holding(() -> admit(r, true), r.handle))

@noinline function throw_interrupted(h::Handle)
    h.waits.interrupted = false
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
        h.waits.interrupted = true
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
    h.views.free === no_slot && add_slot(h)
    inside(@inline(h -> hold_inside(h, slot)), h -> hold_slowly(h, slot), h) || throw_held()
    return m
end

@inline function hold_inside(h::Handle, slot::Slot)
    views = h.views
    fresh = views.free
    (h.slot === slot) & h.viewing & (fresh !== no_slot) || return false
    views.free = fresh.next
    h.slot = fresh
    h.viewing = false
    views.held += 1
    return true
end

@noinline hold_slowly(h::Handle, slot::Slot) =
    quietly(() -> holding(() -> locked(h -> hold_inside(h, slot), h), h))
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
    code = inside(@inline(h -> release_inside(h, slot, m)), h -> release_slowly(h, slot, m), h)
    code < 0 && throw_error(h, code)
    return
end

@inline function release_inside(h::Handle, slot::Slot, m::Message)
    slot === h.slot && return end_view(h)
    slot.generation += 1
    views = h.views
    slot.next = views.free
    views.free = slot
    views.held -= 1
    raw = Ref(RawMessage(sizeof(RawMessage), m.data, m.length, m.tag, m.sequence, m.sender, 0, m.link, m.position))
    return GC.@preserve raw ipc_receiver_release(h.pointer, Base.unsafe_convert(Ptr{RawMessage}, raw))
end

@noinline release_slowly(h::Handle, slot::Slot, m::Message) = quietly() do
    holding(h) do
        check(m)
        code = locked(h -> release_inside(h, slot, m), h)
        h.gate & CLOSED != 0 && forget_if_done(h)
        return code
    end
end
