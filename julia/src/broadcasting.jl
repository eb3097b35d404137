# Broadcasting at an Array's speed. The compiler does not vectorize a loop that reads through a bare pointer and writes to an
# Array, or the other way round: it can't tell whether the two overlap. So what is long is wrapped as an Array for the
# duration; for what is short that would cost more than it gains.

const long = 1000

struct BorrowedStyle{N} <: Broadcast.AbstractArrayStyle{N} end
BorrowedStyle{M}(::Val{N}) where {M,N} = BorrowedStyle{N}()
Base.BroadcastStyle(::Type{<:Borrowed}) = BorrowedStyle{1}()
Base.similar(bc::Broadcast.Broadcasted{<:BorrowedStyle}, ::Type{T}) where {T} = similar(Array{T}, axes(bc))

@inline function Base.copyto!(to::AbstractArray, bc::Broadcast.Broadcasted{<:BorrowedStyle})
    plain = convert(Broadcast.Broadcasted{Nothing}, bc)
    length(bc) < long ? copyto!(to, plain) : copyto_wrapped!(to, plain)
    return to
end
@inline function Base.copyto!(to::Writable, bc::Broadcast.Broadcasted{Nothing})
    if length(bc) < long && !overlaps(to, bc)
        invoke(copyto!, Tuple{AbstractArray,Broadcast.Broadcasted{Nothing}}, to, bc)
    else
        copyto_wrapped!(to, bc)
    end
    return to
end

@noinline copyto_wrapped!(to, bc) = copyto!(to isa Borrowed ? unsafe_wrap(Array, to) : to, wrapped(to, bc))

wrapped(to, bc::Broadcast.Broadcasted{S}) where {S} =
    Broadcast.Broadcasted{S}(bc.f, map(x -> wrapped(to, x), bc.args), bc.axes)
wrapped(to, b::Borrowed) = overlaps(to, b) ? copy(b) : unsafe_wrap(Array, b)
wrapped(to, x) = x

# Whether writing to `to` could change what is yet to be read: two different views of one room. Julia's own check passes
# over isbits arrays.
overlaps(to::Borrowed, b::Borrowed) = to.slot == b.slot && to !== b
overlaps(to::Borrowed, bc::Broadcast.Broadcasted) = any(x -> overlaps(to, x), bc.args)
overlaps(to, x) = false
