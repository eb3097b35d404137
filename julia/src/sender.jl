# Sending.

"""
    Sender(url; capacity=nothing, max_capacity=nothing)
    Sender(f, url; …)

Sends on the channel that `url` names (the URLs: [`Receiver`](@ref)). It and receivers find each other, whichever comes
first; until then messages wait in its ring. A receiver that comes later is noticed in the next call, or whenever other tasks
may run, as at an idle prompt; `flush(s)` waits for it. The second form closes it when `f(sender)` returns, and warns if
messages are lost because no receiver is connected; so does the end of the process.

Its ring has 1 MiB. It grows when a message, or a receiver that takes nothing, needs it, and becomes small again when what
was in it is released. So there is no size to choose; but if there should be one:

- `max_capacity`: bytes of the largest ring, a quarter of the machine's memory if not given. A message is at most half of it.
- `capacity`: bytes of the ring, which keeps that size unless `max_capacity` is given as well.

`put!` is the form for several tasks, as on a `Channel`; [`send`](@ref) the fast one, for one task at a time. `close`
says that no more will come, and returns the number of messages that not every receiver has released yet.

# Examples
```julia
r = Receiver("shm://squares")
Sender("shm://squares") do s
    foreach(i -> put!(s, i^2), 1:3)
end
[only(reinterpret(Int, take!(r))) for _ in 1:3]    # [1, 4, 9]
```
"""
mutable struct Sender <: AbstractChannel{Vector{UInt8}}
    handle::Handle
    watch::Watch
    exception::Exception
    function Sender(url::AbstractString; capacity::Union{Nothing,Integer}=nothing,
                    max_capacity::Union{Nothing,Integer}=nothing)
        for (name, bytes) in ((:capacity, capacity), (:max_capacity, max_capacity))
            bytes === nothing || 0 < bytes <= typemax(Int) || rarely(throw_no_capacity, name, bytes)
        end
        options = RawSenderOptions(sizeof(RawSenderOptions), something(capacity, 0), something(max_capacity, 0))
        return verb() do
            handle, watch = open_handle(() -> open_pointer(ipc_sender_open, String(url), options), false)
            s = finalizer(finish, new(handle, watch, closed_exception("Sender")))
            warn_if_open_twice(handle)
            return s
        end
    end
end

throw_no_capacity(name, bytes) =
    throw(ArgumentError("$name=$bytes: give the bytes of the ring, or nothing for the default"))

function Sender(f::Function, url::AbstractString; options...)
    s = Sender(url; options...)
    try
        return f(s)
    finally
        alone = isopen(s) && while_open(is_alone, s)
        left = close(s)
        alone && left > 0 && warn_lost(left, url)
    end
end

warn_lost(left, url) = @warn lost_words(left, url)
lost_words(left, url) =
    "$left message$(left == 1 ? " on $url is" : "s on $url are") lost: no receiver is connected. `flush(sender)` waits for one"

"""
    send(s::Sender, data; tag=0, timeout=nothing)

Sends the bytes of `data`: a string, an array of isbits elements that lies in one piece, a [`Message`](@ref), or one value
of an isbits type. Waits while the slowest receiver leaves no room; other tasks run meanwhile. `timeout` is in seconds;
[`TimeoutError`](@ref) says who was in the way. `tag` is a number of yours. For one task at a time.

# Examples
```julia
s, r = Sender("shm://mixed"), Receiver("shm://mixed")
send(s, "text"; tag=1)
send(s, Float32[0.5, 1.5]; tag=2)
send(s, (x=1, y=2.0); tag=3)
[recv(r).tag for _ in 1:3]    # [1, 2, 3]
```
"""
@inline Sockets.send(s::Sender, data; tag::Integer=0, timeout::Union{Nothing,Real}=nothing) =
    deliver(s, data, tagged(tag), timeout, true)

# What `send` and `put!` do; `alone` is for one task at a time.
@inline function deliver(s::Sender, data, tag::UInt64, timeout, alone::Bool)
    data isa AbstractString && !(data isa Text) && return deliver(s, String(data), tag, timeout, alone)
    return GC.@preserve data at_once(s, Request(sending(data, tag), h -> nothing, timeout, alone))
end

const Text = Union{String,SubString{String}}  # whose bytes lie in one piece

# The attempt to send it, by what it is.
@inline sending(data::Text, tag::UInt64) = sending(pointer(data), sizeof(data), tag)
@inline sending(data::StridedArray, tag::UInt64) =
    (contiguous(data); sending(Ptr{UInt8}(pointer(data)), sizeof_elements(data), tag))
@inline sending(p::Ptr{UInt8}, n::Int, tag::UInt64) = @inline h -> ipc_sender_send(h.pointer, p, n, tag, 0)
sending(data::AbstractArray, ::UInt64) = throw(ArgumentError(
    "the elements of a $(typeof(data)) don't lie in memory in one piece: send `collect(data)`"))
@inline function sending(x::T, tag::UInt64) where {T}
    isbitstype(T) || throw(ArgumentError("a $T can't be sent: give a string, an array of isbits elements, or an isbits value"))
    sizeof(T) == 0 && throw(ArgumentError("$x has no bytes to be sent: give UInt8[] for an empty message"))
    return @inline h -> send_inside(h, x, tag)
end

@inline function send_inside(h::Handle, x::T, tag::UInt64) where {T}
    code = ipc_sender_reserve(h.pointer, sizeof(T), room_address(h), 0)
    code == 0 || return code
    unsafe_store!(Ptr{T}(room_of(h)), x)
    return ipc_sender_commit(h.pointer, sizeof(T), tag)
end

"""
    send(f, s::Sender, nbytes; tag=0, timeout=nothing)

Calls `f(room)` to fill `nbytes` of the ring in place, and sends them; nothing is copied. `room` is a vector of bytes,
`reinterpret(T, room)` one of `T`. Its bytes are whatever was there. `truncate(room, n)` sends only the first `n`. If `f`
throws, nothing is sent.

# Examples
```julia
s, r = Sender("shm://ramp"), Receiver("shm://ramp")
send(s, 4 * sizeof(Float32)) do room
    samples = reinterpret(Float32, room)
    samples .= 1:4
end
sum(reinterpret(Float32, recv(r)))    # 10.0f0
```
"""
function Sockets.send(f::F, s::Sender, nbytes::Integer; tag::Integer=0,
                      timeout::Union{Nothing,Real}=nothing) where {F}
    number = tagged(tag)
    room = reserve(s, Int(nbytes), timeout)
    try
        f(room)
        finish_room(s, s.handle.views.committed, number)
    catch
        Base.sigatomic_begin()
        alive(room) && finish_room(s, -1, UInt64(0))
        Base.sigatomic_end()
        rethrow()
    end
    return
end

function Base.truncate(room::Room, n::Integer)
    check(room)
    0 <= n <= room.length || throw(ArgumentError("the room has $(room.length) bytes, not $n"))
    (slot_of(room).handle::Handle).views.committed = n
    return room
end

function contiguous(data::StridedArray{T}) where {T}
    isbitstype(T) || throw(ArgumentError("the elements are of type $T, which is not plain data (isbits)"))
    data isa DenseArray && return
    expected = 1
    for d in 1:ndims(data)
        stride(data, d) == expected || size(data, d) <= 1 || throw(ArgumentError(
            "the elements of this $(typeof(data)) don't lie in memory in one piece: use `collect(data)`"))
        expected *= size(data, d)
    end
    return
end
sizeof_elements(data::AbstractArray) = length(data) * sizeof(eltype(data))

@inline tagged(tag::Integer) =
    0 <= tag <= typemax(UInt64) ? tag % UInt64 : throw(ArgumentError("the tag is $tag: give 0 to 2^64 - 1"))

@inline function reserve(s::Sender, n::Int, timeout)
    n >= 0 || throw(ArgumentError("a message of $n bytes"))
    reserving = @inline h -> ipc_sender_reserve(h.pointer, n, room_address(h), 0)
    return at_once(s, Request(reserving, @inline(h -> give_room(h, n)), timeout, true))
end

@inline function give_room(h::Handle, n::Int)
    h.viewing = true
    h.views.committed = n
    return Room(room_of(h), n, slot_address(h.slot), h.slot.generation, session.number)
end

# Sends the first n bytes of the room, or with n = -1 nothing.
@inline function finish_room(s::Sender, n::Int, tag::UInt64)
    h = s.handle
    code = inside(@inline(h -> finish_inside(h, n, tag)), h -> finish_slowly(h, n, tag), h)
    code < 0 && throw_error(h, code)
    return
end

@noinline finish_slowly(h::Handle, n::Int, tag::UInt64) = quietly() do
    holding(h) do
        code = locked(h -> finish_inside(h, n, tag), h)
        h.gate & CLOSED != 0 && close_sender(h)  # it was closed while the room was being filled
        return code
    end
end

@inline function finish_inside(h::Handle, n::Int, tag::UInt64)
    h.slot.generation += 1
    h.viewing = false
    return n < 0 ? ipc_sender_abort(h.pointer) : ipc_sender_commit(h.pointer, n, tag)
end

"""
    flush(s::Sender; timeout=nothing)

Waits until every receiver has released every message; without a receiver, for one. Throws [`TimeoutError`](@ref) when
`timeout` seconds have passed.

# Examples
```julia
s, r = Sender("shm://orders"), Receiver("shm://orders")
put!(s, "order")
take!(r)
flush(s; timeout=1)
```
"""
Base.flush(s::Sender; timeout::Union{Nothing,Real}=nothing) =
    at_once(s, Request(h -> unreleased(ipc_sender_flush(h.pointer, 0)), h -> nothing, timeout, false))

# A number of messages means that it has to wait.
unreleased(code::Int32) = code > 0 ? EAGAIN : code

"""
    close(s::Sender; linger=0)

Says that no more will come, waits up to `linger` seconds for every message to be released, and closes. Returns the number
of messages that not every receiver has released: connected receivers still get them; with no receiver connected they are
lost.

# Examples
```julia
r = Receiver("shm://farewell")
s = Sender("shm://farewell")
put!(s, "bye")
close(s)           # 1
String(take!(r))   # "bye"
```
"""
function Base.close(s::Sender, exception::Exception=closed_exception("Sender"); linger::Real=0)
    linger >= 0 || throw(ArgumentError("linger=$linger: give 0 seconds or more"))
    isopen(s) || return 0
    if linger > 0
        try
            exclusively(() -> ipc_sender_end(s.handle.pointer), s.handle)
            flush(s; timeout=linger)
        catch e
            e isa TimeoutError || e isa InvalidStateException || rethrow()
        end
    end
    return shut(s, exception)
end
