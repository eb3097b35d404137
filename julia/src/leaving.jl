# What leaves this process by Serialization: to another process, or to a file. Of a message that is its bytes. A handle
# stays where it is.

# By its id, as users' manifests need not list it.
const Serialization = Base.require(Base.PkgId(Base.UUID("9e88b42a-f829-5b0c-bbe9-9e923198166b"), "Serialization"))

const AbstractSerializer = Serialization.AbstractSerializer

Serialization.serialize(s::AbstractSerializer, b::Borrowed) =
    alive(b) ? Serialization.serialize(s, copy(b)) : refuse(s, StaleMessageError())
Serialization.serialize(s::AbstractSerializer, several::Array{<:Borrowed}) =
    all(alive, several) ? Serialization.serialize(s, map(copy, several)) : refuse(s, StaleMessageError())

# One that is in a NamedTuple, at any of the first eight places: the type of that says what is in it.
const BorrowedAmong = Union{(Tuple{ntuple(_ -> Any, i)...,Borrowed,Vararg} for i in 0:7)...}
Serialization.serialize(s::AbstractSerializer, named::NamedTuple{names,<:BorrowedAmong}) where {names} =
    all(x -> !(x isa Borrowed) || alive(x), named) ?
    Serialization.serialize(s, map(x -> x isa Borrowed ? copy(x) : x, named)) : refuse(s, StaleMessageError())

Serialization.serialize(s::AbstractSerializer, x::Union{Receiver,Sender}) = refuse(s, stays(x))
Base.deepcopy_internal(x::Union{Receiver,Sender}, ::IdDict) = throw(stays(x))

# Its bytes, too. Within something else it stays a view: a field or an element has room for nothing else.
Base.deepcopy(b::Borrowed) = copy(b)
Base.deepcopy(several::Array{<:Borrowed}) = map(copy, several)

stays(x) = ArgumentError("a $(nameof(typeof(x))) can't be copied or leave its process: open another one on " *
                         "$(repr(url(x))) where it is needed")

# Who writes to a file hears it at once. In a message to a worker that would leave half of it, and the next one would be
# lost: there it is thrown by the worker.
struct Refused
    why::Exception
end
refuse(s::AbstractSerializer, why::Exception) = Serialization.serialize(s, Refused(why))
refuse(s::Serialization.Serializer, why::Exception) = throw(why)
Serialization.deserialize(s::AbstractSerializer, ::Type{Refused}) = throw(Serialization.deserialize(s))
