# Loops over messages without copying.

struct EachMessage{Until}
    receiver::Receiver
    finished::Set{UInt64}  # senders that have ended
end

"""
    eachmessage(r::Receiver; until=nothing)

Iterates over the messages of `r` as `recv` gives them: each is good until the next turn of the loop. Nothing is copied or
allocated. It goes on until `r` is closed. With `until=:end` it stops when every sender that was seen has ended, and throws
[`SenderDied`](@ref) if one died.

# Examples
```julia
r = Receiver("shm://series")
Sender("shm://series") do s
    foreach(i -> send(s, [i, i]), 1:3)
end
total = 0
for m in eachmessage(r; until=:end)
    global total += sum(reinterpret(Int, m))
end
total    # 12
```
"""
function eachmessage(r::Receiver; until::Union{Nothing,Symbol}=nothing)
    until === nothing || until === :end ||
        throw(ArgumentError("until=$(repr(until)): it is :end, or nothing to go on until the receiver is closed"))
    return EachMessage{until}(r, Set{UInt64}())
end

Base.eltype(::Type{<:EachMessage}) = Message
Base.IteratorSize(::Type{<:EachMessage}) = Base.SizeUnknown()

@inline function Base.iterate(each::EachMessage, _=nothing)
    r = each.receiver
    h = r.handle
    GC.safepoint()
    code = UNTRIED
    if tryenter(h)
        code = receive(h)
        leave(h)
        code == IPC_MESSAGE && return give_view(h), nothing
    end
    return iterate_slowly(each, news(h, code))
end

@noinline function iterate_slowly(each::EachMessage{Until}, code::Int32) where {Until}
    r = each.receiver
    event(code) = (tell(r, code); Until === :end ? note(each, code) : nothing)
    m = try
        await(attempt_view, give_view, event, r, nothing, true, code)::Union{Message,Bool}
    catch e
        Until === nothing && e isa InvalidStateException && e.state === :closed || rethrow()
        return nothing
    end
    return m isa Message ? (m, nothing) : nothing
end

# true if this was the last of the senders.
function note(each::EachMessage, code::Int32)
    r = each.receiver
    code == IPC_DIED && throw(SenderDied(r.handle.peer, r.handle.url))
    push!(each.finished, r.handle.peer)
    return all(link -> link.peer in each.finished, links(r)) ? true : nothing
end
