# The verbs of Base that a Channel has. They may be used by any number of tasks, and what they return is the caller's own.

# What finish makes of the next message. It allocates, so this is the slow path, where Ctrl-C waits.
next(finish::F, r::Receiver) where {F} = slowly(r, Request(look, finish, nothing, false), UNTRIED)

function copy_of_next(h::Handle)
    raw = unsafe_load(h.next)
    v = Vector{UInt8}(undef, raw.size)
    GC.@preserve v unsafe_copyto!(pointer(v), raw.data, raw.size)
    return v
end

take_now(h::Handle) = (size = size_if_there(h); size < 0 ? nothing : copied_next(Vector{UInt8}, h, size))

function take_next(h::Handle)
    v = copy_of_next(h)
    code = consume(h)
    code < 0 && throw_error(h, code)
    return v
end

"""
    take!(r::Receiver)

Waits for the next message and returns its bytes. Any number of tasks may wait. A time-out: [`recv`](@ref) has one.

# Examples
```julia
s, r = Sender("shm://words"), Receiver("shm://words")
put!(s, "word")
String(take!(r))    # "word"
```
"""
function Base.take!(r::Receiver)
    h = r.handle
    begin_verb(h, nothing)
    if one_thread()
        v = verb(() -> take_now(h))
        v === nothing || return v
    end
    return next(take_next, r)
end
Base.popfirst!(r::Receiver) = take!(r)

"""
    fetch(r::Receiver)

The bytes of the next message, which stays the next one.

# Examples
```julia
s, r = Sender("shm://peek"), Receiver("shm://peek")
put!(s, "next")
String(fetch(r)) == String(take!(r))    # true
```
"""
Base.fetch(r::Receiver) = (begin_verb(r.handle, nothing); next(copy_of_next, r))
Base.wait(r::Receiver) = at_once(r, Request(look, h -> nothing, nothing, false))

"""
    isready(r::Receiver)

Whether a message is there, so that `take!` and `recv` would not wait. It stays the next one; but it counts as received
if `r` is closed before it is taken.

# Examples
```julia
s, r = Sender("shm://any"), Receiver("shm://any")
isready(r)    # false
put!(s, "something")
isready(r)    # true
```
"""
function Base.isready(r::Receiver)
    isopen(r) || is_foreign(r.handle) || return false
    return at_once(r, Request(look_once, h -> h.pending == IPC_MESSAGE, nothing, false))
end
# Not to wait: to find nothing is a success.
@inline look_once(h::Handle) = (code = look(h); code == EAGAIN ? Int32(0) : code)
Base.isempty(r::Receiver) = !isready(r)

@inline function Base.iterate(r::Receiver, _=nothing)
    v = take_unless_closed(r)
    return v === nothing ? nothing : (v, nothing)
end
function take_unless_closed(r::Receiver)
    try
        return take!(r)
    catch e
        e isa InvalidStateException && e.state === :closed || rethrow()
        return nothing
    end
end
Base.eltype(::Type{Receiver}) = Vector{UInt8}
Base.IteratorSize(::Type{<:Union{Receiver,Sender}}) = Base.SizeUnknown()

"""
    put!(s::Sender, data; tag=0)

Sends the bytes of `data`, as [`send`](@ref) does. Any number of tasks may send.

# Examples
```julia
s, r = Sender("shm://many"), Receiver("shm://many")
@sync for i in 1:3
    @async put!(s, i)
end
sum(only(reinterpret(Int, take!(r))) for _ in 1:3)    # 6
```
"""
function Base.put!(s::Sender, data; tag::Integer=0)
    deliver(s, data, tagged(tag), nothing, false)
    return data
end
Base.push!(s::Sender, data) = put!(s, data)

"""
    close(r::Receiver)
    close(r::Receiver, exception)

Closes `r`. Tasks that wait in it get `InvalidStateException`, or `exception`, as with a `Channel`. What was not received,
or not released, goes to the next receiver if this was the last. Returns the number of messages that are held: they stay
readable until each is released.

# Examples
```julia
r = Receiver("shm://closing")
waiting = @async take!(r)
yield()
close(r)
istaskfailed((try wait(waiting) catch; end; waiting))    # true
```
"""
Base.close(r::Receiver, exception::Exception=closed_exception("Receiver")) = shut(r, exception)

"""
    bind(r::Receiver, task)

Closes `r` when `task` ends; if it fails, tasks that wait in `r` get its failure.
"""
function Base.bind(x::Union{Receiver,Sender}, task::Task)
    @async begin
        failure = try
            wait(task)
            nothing
        catch e
            e
        end
        failure isa Exception ? close(x, failure) : close(x)
    end
    return x
end

Base.put!(r::Receiver, data) = throw(ArgumentError("a Receiver only receives: open Sender(\"$(r.handle.url)\") to send"))
Base.push!(r::Receiver, data) = put!(r, data)
Base.take!(s::Sender) = throw(ArgumentError("a Sender only sends: open Receiver(\"$(s.handle.url)\") to receive"))
for verb in (:popfirst!, :fetch, :wait, :isready, :isempty, :iterate)
    @eval Base.$verb(s::Sender, _...) = take!(s)
end
Base.broadcastable(x::Union{Receiver,Sender}) = Ref(x)
