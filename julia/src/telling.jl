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
    code, counted = while_open(h -> read_counters(h, read, T), x)
    code < 0 && throw_error(x.handle, code)
    return counted
end

# Alone inside.
function read_counters(h::Handle, read::F, ::Type{T}) where {F,T}
    out = Ref(blank(T))
    code = GC.@preserve out read(h.pointer, Base.unsafe_convert(Ptr{T}, out))
    return code, out[]
end

function while_open(f, x)
    h = x.handle
    return exclusively(h) do
        is_open(h) || throw_closed(x)
        f(h)
    end
end
exclusively(h::Handle, f) = exclusively(f, h)

# Structs of the ABI as NamedTuples, without their sizes. Counts are Int; ids keep their type, which prints as hexadecimal.
# Written out, as the compiler takes seconds for what goes over the fields.
for T in (RawReceiverCounters, RawSenderCounters, RawLink)
    told(name) = name in (:id, :peer) ? :(raw.$name) : name === :state ? :(LINK_STATES[raw.state + 1]) : :(Int(raw.$name))
    names = filter(name -> !(name in (:struct_size, :reserved)), fieldnames(T))
    @eval named(raw::$T) = $(Expr(:tuple, (:($name = $(told(name))) for name in names)...))
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
        all_there && return map(named, found)
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
    code, memory = listed()
    code < 0 && throw(IPCError(code, "cannot list the channels: $(strerror(code))"))
    return GC.@preserve memory [told(p) for p in each_channel(memory, code)]
end

# How many channels there are, or why they can't be listed, and the RawChannels as bytes.
function listed()
    loaded()
    memory = UInt8[]
    while true
        room = length(memory) ÷ sizeof(RawChannel)
        GC.@preserve memory begin
            p = Ptr{RawChannel}(room == 0 ? C_NULL : pointer(memory))
            room == 0 || unsafe_store!(Ptr{Csize_t}(p), sizeof(RawChannel))
            code = counted(() -> ipc_channel_list(p, room))
        end
        code <= room && return code, memory
        resize!(memory, code * sizeof(RawChannel))
    end
end
each_channel(memory, count) = (pointer(memory) + i * sizeof(RawChannel) for i in 0:(count - 1))

# What another process says of itself may be any number.
figure(n) = Int(min(n, typemax(Int) % UInt64))

# From where a RawChannel lies: one as a value has the compiler work for a second.
function told(c::Ptr{UInt8})
    o = channel_offsets
    half(offset) = Int(unsafe_load(Ptr{Int32}(c + offset)))
    word(offset) = figure(unsafe_load(Ptr{UInt64}(c + offset)))
    link = Ptr{RawChannelLink}(c + o.link)
    return (url=unsafe_string(c + o.url), folder=unsafe_string(c + o.folder), id=unsafe_load(Ptr{UInt64}(c + o.id)),
            pid=half(o.pid), role=ROLES[half(o.role)], layout=half(o.layout), messages=word(o.messages), bytes=word(o.bytes),
            backlog=word(o.backlog), capacity=word(o.capacity), skipped=word(o.skipped), lost=word(o.lost),
            age=unsafe_load(Ptr{Int64}(c + o.age_ns)) / 1e9, peers=half(o.links),
            links=[told(unsafe_load(link, i)) for i in 1:word(o.shown)])
end
const channel_offsets =
    NamedTuple{fieldnames(RawChannel)}(Tuple(Int(fieldoffset(RawChannel, i)) for i in 1:fieldcount(RawChannel)))

told(l::RawChannelLink) =
    (peer=l.peer, pid=Int(l.pid), state=LINK_STATES[l.state + 1],
     behind=l.behind == IPC_UNKNOWN ? missing : figure(l.behind), held=figure(l.held), skipped=figure(l.skipped),
     lost=figure(l.lost))

# ---- In errors ----

# Where the names are of those that x could meet, if that is a folder, and the library can look.
function where_to_meet(x)
    waits = x.handle.waits
    isempty(waits.folder) && startswith(x.handle.url, "shm://") && (waits.folder = rarely(folder_of, own_id(x)))
    return isempty(waits.folder) ? "" : " (the runtime folder is $(waits.folder))"
end

own_id(r::Receiver) = counters(r, ipc_receiver_stats, RawReceiverCounters).id
own_id(s::Sender) = counters(s, ipc_sender_stats, RawSenderCounters).id

function folder_of(id::UInt64)
    code, memory = listed()
    GC.@preserve memory for p in each_channel(memory, code)
        unsafe_load(Ptr{UInt64}(p + channel_offsets.id)) == id && return unsafe_string(p + channel_offsets.folder)
    end
    return ""
end

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
