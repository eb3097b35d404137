# What handles tell about themselves.

"""
    LibIPC.url(x)

The URL of a [`Receiver`](@ref) or [`Sender`](@ref), also of a closed one. Its id, which messages name as their `sender`, is
`LibIPC.stats(x).id`.

# Examples
```julia
r = Receiver("shm://named")
LibIPC.url(r)    # "shm://named"
```
"""
url(x::Union{Receiver,Sender}) = x.handle.url

"""
    LibIPC.stats(x)

The counters of a [`Receiver`](@ref) or [`Sender`](@ref) as a NamedTuple; ipc.h explains each. May be called by any task
at any time.

# Examples
```julia
s, r = Sender("shm://counted"), Receiver("shm://counted")
put!(s, "abc")
take!(r)
LibIPC.stats(r).bytes       # 3
LibIPC.stats(s).messages    # 1
```
"""
stats(r::Receiver) = named(counters(r, ipc_receiver_stats, RawReceiverCounters))
stats(s::Sender) = named(counters(s, ipc_sender_stats, RawSenderCounters))

function counters(x, read::F, ::Type{T}) where {F,T}
    out = Ref(blank(T))
    code = while_open(x) do h
        GC.@preserve out read(h.pointer, Base.unsafe_convert(Ptr{T}, out))
    end
    code < 0 && throw_error(x.handle, code)
    return out[]
end

function while_open(f, x)
    h = x.handle
    return exclusively(h) do
        is_open(h) || throw_closed(x)
        f(h)
    end
end
exclusively(h::Handle, f) = exclusively(f, h)

# A struct of the ABI as a NamedTuple, without its size. Counts are Int; ids keep their type, which prints as hexadecimal.
function named(raw::T) where {T}
    names = filter(name -> name !== :reserved, fieldnames(T)[2:end])
    return NamedTuple{names}(map(n -> n in (:id, :peer) ? getfield(raw, n) : Int(getfield(raw, n)), names))
end

"""
    LibIPC.links(x)

Who is connected to a [`Receiver`](@ref) or [`Sender`](@ref), how far behind each is, what it holds: a vector of
NamedTuples. `state` is `:connecting`, `:up`, `:ended`, `:left`, or `:unlinked`: the two know of each other and can't be
linked yet; `lack` is the errno, negative, of what is in the way.

# Examples
```julia
s, r = Sender("shm://linked"), Receiver("shm://linked")
only(LibIPC.links(s)).pid == getpid()    # true
```
"""
links(r::Receiver) = linked(r, ipc_receiver_links)
links(s::Sender) = linked(s, ipc_sender_links)

function linked(x, read::F) where {F}
    found = RawLink[]
    while true
        code = while_open(x) do h
            isempty(found) || (found[1] = blank(RawLink))
            GC.@preserve found read(h.pointer, isempty(found) ? Ptr{RawLink}(C_NULL) : pointer(found), length(found))
        end
        code < 0 && throw_error(x.handle, code)
        all_there = code <= length(found)
        resize!(found, code)
        all_there && return [merge(named(l), (state = LINK_STATES[l.state + 1],)) for l in found]
    end
end

"""
    LibIPC.channels()

Every sender and receiver of this user on this machine, of any process, also of busy and stopped ones: a vector of
NamedTuples. `age` is in seconds: how old the figures are. `folder` is the runtime folder of a `shm://` channel: handles meet
only in the same one. One that this process does not see, of a service or container with mounts of its own, begins with
`/proc/PID/root`.

`links` is a vector of NamedTuples, of at most 60 peers; `peers` counts all. Each has the `peer`'s id and
`pid`, its `state` (as [`LibIPC.links`](@ref)), how many bytes it is `behind` (`missing` where that can't be known) and has
`held` and not released, and how many messages were `skipped` or `lost`. ipc.h says more (`ipc_channel`).

# Examples
```julia
r = Receiver("shm://listed")
any(c -> c.url == "shm://listed" && c.role === :receiver, LibIPC.channels())    # true
```
"""
function channels()
    loaded()
    found = RawChannel[]
    while true
        isempty(found) || (found[1] = blank(RawChannel))
        code = GC.@preserve found counted() do
            ipc_channel_list(isempty(found) ? Ptr{RawChannel}(C_NULL) : pointer(found), length(found))
        end
        code < 0 && throw(IPCError(code, "cannot list the channels: $(strerror(code))"))
        all_there = code <= length(found)
        resize!(found, code)
        all_there && return [told(c) for c in found]
    end
end

text_of(bytes) = String(collect(Iterators.takewhile(!=(0x00), bytes)))

# What another process says of itself may be any number.
figure(n) = Int(min(n, typemax(Int) % UInt64))

told(c::RawChannel) =
    (url=text_of(c.url), folder=text_of(c.folder), id=c.id, pid=Int(c.pid), role=ROLES[c.role], layout=Int(c.layout),
     messages=figure(c.messages), bytes=figure(c.bytes), backlog=figure(c.backlog), capacity=figure(c.capacity),
     skipped=figure(c.skipped), lost=figure(c.lost), age=c.age_ns / 1e9, peers=Int(c.links),
     links=[told(c.link[i]) for i in 1:c.shown])

told(l::RawChannelLink) =
    (peer=l.peer, pid=Int(l.pid), state=LINK_STATES[l.state + 1],
     behind=l.behind == IPC_UNKNOWN ? missing : figure(l.behind), held=figure(l.held), skipped=figure(l.skipped),
     lost=figure(l.lost))

# ---- In errors ----

# Where receivers' and senders' names are, as ipc.h says.
function runtime_folder()
    set = get(ENV, "IPC_DIR", "")
    return isempty(set) ? "/dev/shm/ipc-$(ccall(:geteuid, Cuint, ()))" : set
end

where_to_meet(x) = startswith(x.handle.url, "shm://") ? " (the runtime folder is $(runtime_folder()))" : ""

within(timeout) = timeout == 0 ? "without waiting" : "within $timeout s"

# Why a wait has run out of time. The handle may be held.
function in_the_way(r::Receiver, timeout)
    told = links(r)
    count = Base.count(l -> l.state !== :unlinked, told)
    return "no message came on $(r.handle.url) $(within(timeout)): " *
           (count == 0 ? "no sender is connected$(where_to_meet(r))" :
            count == 1 ? "one sender is connected" : "$count senders are connected") * unlinked(told)
end

why_unlinked(lack) = lack == EAGAIN ? "as many senders as may be wait for it already, and it makes no call" : strerror(lack)

# Those that are there and have no link yet.
function unlinked(told)
    waiting = filter(l -> l.state === :unlinked, told)
    isempty(waiting) && return ""
    return "; process $(join((l.pid for l in waiting), ", ")) can't be linked yet: $(why_unlinked(first(waiting).lack))"
end

function in_the_way(s::Sender, timeout)
    told = links(s)
    isempty(told) && return "$(s.handle.url) could not go on $(within(timeout)): no receiver is connected to take what " *
                            "is in its ring$(where_to_meet(s))"
    waiting = unlinked(told)
    isempty(waiting) || return "$(s.handle.url) could not go on $(within(timeout))$waiting"
    slowest = told[argmin([l.released for l in told])]
    return "$(s.handle.url) could not go on $(within(timeout)): the receiver of process $(slowest.pid) has " *
           "$(slowest.committed - slowest.released) bytes of the ring that it has not released, and $(slowest.behind) " *
           "messages to receive"
end

# ---- Showing ----

function Base.show(io::IO, x::Union{Receiver,Sender})
    noun = x isa Receiver ? "Receiver" : "Sender"
    print(io, noun, "(", repr(x.handle.url))
    if isopen(x)
        n = stats(x)
        peers = x isa Receiver ? "sender" : "receiver"
        print(io, ", ", n.links, " ", peers, n.links == 1 ? "" : "s", ", ", n.messages, " message",
              n.messages == 1 ? "" : "s", ")")
    else
        print(io, ", closed)")
    end
    return
end
