# Memory that belongs to the library, as vectors: a Message as it was received, a Room to be filled, and both as vectors of
# another type. They are isbits, so that none is allocated; a word in the package's own memory says whether one is still
# good. It is looked at where a size is asked for, which every loop and every bulk call does once; `@inbounds`, `pointer`
# and `unsafe_wrap` leave it to the caller. One that comes from another process points nowhere, and the number of its
# session says so.

abstract type Borrowed{T} <: DenseVector{T} end

"""
    Message <: DenseVector{UInt8}

The bytes of a message, where its sender wrote them: nothing is copied. Read-only. A message from `recv` is good until
the next `recv` or `take!` on the same receiver; [`hold`](@ref) keeps it for longer. After that it throws
[`StaleMessageError`](@ref). `copy(m)` and `String(m)` give bytes that stay, [`reinterpret`](@ref) another view. What is
saved by Serialization, or sent to a worker, is its bytes.

Beside its bytes it has
- `m.tag`: the number that the sender gave it
- `m.sequence`: counted from 1 by each sender
- `m.sender`: the id of the sender
- `m.redelivered`: whether another receiver, which is gone, had it before and did not give it back
- `m.duplicate`, `m.late`: on `udp://`, whether it came before, or one with a higher sequence did

# Examples
```julia
s, r = Sender("shm://sound"), Receiver("shm://sound")
send(s, [1, 2, 3]; tag=7)
m = recv(r)
length(m), m.tag, m.sequence        # (24, 7, 1)
reinterpret(Int, m)[2]              # 2
```
"""
struct Message <: Borrowed{UInt8}
    data::Ptr{UInt8}
    length::Int
    tag::UInt64
    sequence::UInt64
    sender::UInt64
    position::UInt64
    link::UInt32
    redelivered::Bool
    duplicate::Bool
    late::Bool
    slot::Ptr{UInt}
    generation::UInt
    session::UInt
end

# A place in the ring for a message that is being made.
struct Room <: Borrowed{UInt8}
    data::Ptr{UInt8}
    length::Int
    slot::Ptr{UInt}
    generation::UInt
    session::UInt
end

# Either of them, or a part, as elements of type T. W: may be written.
struct Typed{T,W} <: Borrowed{T}
    data::Ptr{T}
    length::Int
    slot::Ptr{UInt}
    generation::UInt
    session::UInt
end

const Writable{T} = Union{Room,Typed{T,true}}

@inline alive(b::Borrowed) = b.session == session.number && unsafe_load(b.slot) == b.generation
@inline check(b::Borrowed) = alive(b) || throw(StaleMessageError())
# Of what is alive. Slots are never freed.
@inline slot_of(b::Borrowed) = unsafe_pointer_to_objref(Ptr{Cvoid}(b.slot))::Slot
@inline slot_address(slot::Slot) = Ptr{UInt}(pointer_from_objref(slot))

Base.IndexStyle(::Type{<:Borrowed}) = IndexLinear()
@inline Base.size(b::Borrowed) = (check(b); (b.length,))
@inline function Base.getindex(b::Borrowed, i::Int)
    @boundscheck checkbounds(b, i)
    return unsafe_load(b.data, i)
end
@inline Base.iterate(b::Borrowed) = (check(b); iterate(b, 1))
@inline Base.iterate(b::Borrowed, i::Int) =
    (i % UInt) - 1 < b.length % UInt ? (unsafe_load(b.data, i), i + 1) : nothing

@inline function Base.setindex!(b::Union{Room,Typed{<:Any,true}}, x, i::Int)
    @boundscheck checkbounds(b, i)
    unsafe_store!(b.data, convert(eltype(b), x), i)
    return b
end
Base.setindex!(::Borrowed, x, ::Int) =
    throw(ArgumentError("a message as received can't be written: `copy(m)` gives a Vector that can"))

Base.pointer(b::Borrowed) = b.data
Base.pointer(b::Borrowed, i::Integer) = b.data + (i - 1) * sizeof(eltype(b))
Base.unsafe_convert(::Type{Ptr{T}}, b::Borrowed{T}) where {T} = b.data
Base.unsafe_convert(::Type{Ptr{Cvoid}}, b::Borrowed) = Ptr{Cvoid}(b.data)
Base.elsize(::Type{<:Borrowed{T}}) where {T} = sizeof(T)
Base.sizeof(b::Borrowed) = length(b) * sizeof(eltype(b))

# ---- Views ----

writable(::Type{<:Borrowed}) = false
writable(::Type{Room}) = true
writable(::Type{<:Typed{<:Any,true}}) = true

"""
    reinterpret(T, m::Message)

The same bytes as a vector of `T`, at a `Vector`'s speed; nothing is copied. `T` is any isbits type, a struct too.

# Examples
```julia
s, r = Sender("shm://spectrum"), Receiver("shm://spectrum")
send(s, Float32[1, 2, 4])
sum(reinterpret(Float32, recv(r)))    # 7.0f0
```
"""
function Base.reinterpret(::Type{T}, b::Borrowed{S}) where {T,S}
    isbitstype(T) || throw(ArgumentError("$T is not a plain-data (isbits) type: a message can't be viewed as that"))
    bytes = sizeof(b)
    size = sizeof(T)
    if size == 0 || bytes % size != 0
        throw(ArgumentError("$bytes bytes are no whole number of $T, which have $size bytes each"))
    end
    return Typed{T,writable(typeof(b))}(Ptr{T}(b.data), bytes ÷ size, b.slot, b.generation, b.session)
end
Base.reinterpret(::Type{T}, b::Borrowed{T}) where {T} =
    (check(b); Typed{T,writable(typeof(b))}(b.data, b.length, b.slot, b.generation, b.session))

@inline function Base.view(b::Borrowed{T}, range::AbstractUnitRange{<:Integer}) where {T}
    @boundscheck checkbounds(b, range)
    first_byte = b.data + (first(range) - 1) * sizeof(T)
    return Typed{T,writable(typeof(b))}(first_byte, length(range), b.slot, b.generation, b.session)
end
Base.view(b::Borrowed, ::Colon) = view(b, 1:length(b))

"""
    unsafe_wrap(Array, m::Message)

A real `Vector` on the message's bytes, for code that takes nothing else. It is unsafe: using it after the message was
given back reads what the sender writes next, or crashes. Writing to it throws `ReadOnlyMemoryError`.

# Examples
```julia
s, r = Sender("shm://frames"), Receiver("shm://frames")
send(s, UInt8[1, 2, 3])
recv(r) do m
    sum(unsafe_wrap(Array, m))    # 6
end
```
"""
Base.unsafe_wrap(::Union{Type{Array},Type{Array{T}},Type{Array{T,1}},Type{Vector}}, b::Borrowed{T}) where {T} =
    (check(b); unsafe_wrap(Array, b.data, b.length))

# ---- Bulk copies: the generic ones go element by element ----

function Base.Array{T,1}(b::Borrowed{T}) where {T}
    v = Vector{T}(undef, length(b))
    GC.@preserve v unsafe_copyto!(pointer(v), b.data, b.length)
    return v
end
Base.Array{T}(b::Borrowed{T}) where {T} = Array{T,1}(b)
Base.Array(b::Borrowed{T}) where {T} = Array{T,1}(b)
Base.Vector(b::Borrowed{T}) where {T} = Array{T,1}(b)
Base.copy(b::Borrowed{T}) where {T} = Array{T,1}(b)
Base.collect(b::Borrowed{T}) where {T} = Array{T,1}(b)
Base.getindex(b::Borrowed{T}, ::Colon) where {T} = Array{T,1}(b)
Base.getindex(b::Borrowed{T}, range::AbstractUnitRange{<:Integer}) where {T} = Array{T,1}(view(b, range))

Base.copyto!(to::Array{T}, from::Borrowed{T}) where {T} = copyto!(to, 1, from, 1, length(from))
function Base.copyto!(to::Array{T}, to_start::Integer, from::Borrowed{T}, from_start::Integer, n::Integer) where {T}
    bounds(to, to_start, from, from_start, n)
    n > 0 && GC.@preserve to unsafe_copyto!(pointer(to, to_start), pointer(from, from_start), n)
    return to
end
# Into a Room. What is received throws when its first element is written.
Base.copyto!(to::Writable{T}, from::Union{Array{T},Borrowed{T}}) where {T} = copyto!(to, 1, from, 1, length(from))
function Base.copyto!(to::Writable{T}, to_start::Integer, from::Union{Array{T},Borrowed{T}}, from_start::Integer,
                      n::Integer) where {T}
    bounds(to, to_start, from, from_start, n)
    n > 0 && GC.@preserve from unsafe_copyto!(pointer(to, to_start), pointer(from, from_start), n)
    return to
end

function bounds(to, to_start, from, from_start, n)
    n >= 0 || throw(ArgumentError("can't copy $n elements"))
    checkbounds(to, to_start:(to_start + n - 1))
    checkbounds(from, from_start:(from_start + n - 1))
    return
end

Base.String(b::Borrowed{UInt8}) = (check(b); unsafe_string(b.data, b.length))
Base.write(io::IO, b::Borrowed) = (n = sizeof(b); Int(unsafe_write(io, Ptr{UInt8}(b.data), n)))
Base.read!(io::IO, b::Union{Room,Typed{<:Any,true}}) = (n = sizeof(b); unsafe_read(io, Ptr{UInt8}(b.data), n); b)

const Bytes = Union{Borrowed{UInt8},Array{UInt8,1}}
same_bytes(a, b) = length(a) == length(b) &&
    GC.@preserve a b ccall(:memcmp, Cint, (Ptr{UInt8}, Ptr{UInt8}, Csize_t), pointer(a), pointer(b), length(a)) == 0
Base.:(==)(a::Borrowed{UInt8}, b::Borrowed{UInt8}) = same_bytes(a, b)
Base.:(==)(a::Borrowed{UInt8}, b::Array{UInt8,1}) = same_bytes(a, b)
Base.:(==)(a::Array{UInt8,1}, b::Borrowed{UInt8}) = same_bytes(a, b)

# ---- Showing ----

released(io, b) = print(io, nameof(typeof(b)), " (released)")

function Base.show(io::IO, mime::MIME"text/plain", b::Borrowed)
    alive(b) || return released(io, b)
    return invoke(show, Tuple{IO,MIME"text/plain",AbstractArray}, io, mime, b)
end
function Base.show(io::IO, b::Borrowed)
    alive(b) || return released(io, b)
    return invoke(show, Tuple{IO,AbstractArray}, io, b)
end
function Base.summary(io::IO, m::Message)
    alive(m) || return released(io, m)
    print(io, m.length, "-byte Message with tag ", m.tag, ", sequence ", m.sequence, ", of sender ", repr(m.sender))
    for mark in (:redelivered, :duplicate, :late)
        getfield(m, mark) && print(io, ", ", mark)
    end
    return
end
function Base.summary(io::IO, b::Borrowed{T}) where {T}
    alive(b) || return released(io, b)
    print(io, b.length, b isa Room ? "-byte Room" : "-element view of $T")
    return
end
