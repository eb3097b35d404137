# Loops over messages without copying.

struct EachMessage
    receiver::Receiver
    finished::Union{Nothing,Set{UInt64}}  # with until=:end, the senders that have ended
end

"""
    eachmessage(r::Receiver; until=nothing)

Iterates over the messages of `r` as `recv` gives them: each is good until the next turn of the loop. Nothing is copied or
allocated. It goes on until `r` is closed. With `until=:end` it stops when every sender that was seen has ended, and throws
[`SenderDied`](@ref) if one died. To keep them all: `map(copy, eachmessage(r; until=:end))`.

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
@inline function eachmessage(r::Receiver; until::Union{Nothing,Symbol}=nothing)
    until === nothing || until === :end ||
        throw(ArgumentError("until=$(repr(until)): it is :end, or nothing to go on until the receiver is closed"))
    return EachMessage(r, until === nothing ? nothing : Set{UInt64}())
end

Base.eltype(::Type{EachMessage}) = Message
Base.IteratorSize(::Type{EachMessage}) = Base.SizeUnknown()

@inline function Base.iterate(each::EachMessage, _=nothing)
    m = at_once(each, receiving(nothing), each.receiver.handle)
    return m.session == 0 ? nothing : (m, nothing)
end

# Instead of nothing, as the compiler handles one type faster than two.
const no_message = Message(C_NULL, 0, 0, 0, 0, 0, 0, false, false, false, C_NULL, 0, 0)

@noinline function slowly(each::EachMessage, request::Request, code::Int32)
    r = each.receiver
    while true
        result = await_unless_closed(r, request, code)
        result isa Message && return result
        if result === nothing
            each.finished === nothing && return no_message
            throw_closed(r)
        end
        tell(r, result)
        each.finished === nothing || !note_last(each, result) || return no_message
        code = UNTRIED
    end
end

# A message, news, or nothing if r is closed, as iteration of a closed Channel ends.
function await_unless_closed(r::Receiver, request::Request, code::Int32)
    try
        return await(r, request, deadline(nothing), code)
    catch e
        e isa InvalidStateException && e.state === :closed || rethrow()
        return nothing
    end
end

# Notes who has ended; true if that was the last of the senders.
function note_last(each::EachMessage, news::News)
    r = each.receiver
    news.code == IPC_DIED && throw(SenderDied(news.sender, r.handle.url))
    push!(each.finished, news.sender)
    return all(link -> link.peer in each.finished, links(r))
end
