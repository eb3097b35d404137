# Opening and closing, which are the same for both kinds of handle.

# The handle that open() makes, and the watch on it. The library is not exchanged meanwhile. Compiled once for both kinds.
function open_handle(@nospecialize(open), receives::Bool)
    loaded()
    lock(the_library.lock) do
        pointer = open()::Ptr{Cvoid}
        watch = watched(pointer, receives)
        name = receives ? ipc_receiver_url(pointer) : ipc_sender_url(pointer)
        h = new_handle(pointer, receives, unsafe_string(name))
        attend(h)
        return h, watch
    end
end

function open_pointer(open::F, url::String, options::O) where {F,O}
    out = Ref{Ptr{Cvoid}}(C_NULL)
    given = Ref(options)
    words = zeros(UInt8, 1024)
    code = GC.@preserve out given words open(Base.unsafe_convert(Ptr{Ptr{Cvoid}}, out), url,
                                             Base.unsafe_convert(Ptr{O}, given), pointer(words), length(words))
    code < 0 && throw(IPCError(code, unsafe_string(pointer(words))))
    return out[]
end

# The watch of a new handle, which is closed if none can be had.
function watched(pointer::Ptr{Cvoid}, receives::Bool)
    try
        return Watch(receives ? ipc_receiver_fd(pointer) : ipc_sender_fd(pointer))
    catch
        receives ? ipc_receiver_close(pointer) : ipc_sender_close(pointer, 0)
        rethrow()
    end
end

# At a prompt, `r = Receiver(url)` for the second time leaves the first one open until it is collected.
function warn_if_open_twice(h::Handle)
    twice = false
    for o in open_handles()
        twice |= o !== h && o.receives == h.receives && o.url == h.url
    end
    twice && rarely(warn_of_second, h)
    return
end

function warn_of_second(h::Handle)
    noun, what = h.receives ? ("receiver", "it gets every message too, and senders wait for it") :
                 ("sender", "receivers wait for its end")
    @warn "this process has another $noun on $(h.url) open: until that one is closed or collected, $what"
    return
end

# A sender notices a new receiver in its next call. Those of this process may be waiting for nothing but this receiver.
function tell_own_senders(h::Handle)
    for o in open_handles()
        o.receives || o.url != h.url || exclusively(() -> is_open(o) && !o.receives && arm(o), o)
    end
    return
end

foreign_exception(h::Handle) = ArgumentError(
    "this $(h.receives ? "Receiver" : "Sender") on $(h.url) was opened by another process, such as the one that precompiled " *
    "a package, and lives in that one only: open it when the program runs, in the package's `__init__` for instance")

@noinline function throw_closed(x)
    h = x.handle
    is_foreign(h) && throw(foreign_exception(h))
    # The view that its task had when another task closed the receiver.
    h.receives && h.viewing && h.views.owner === current_task() && (end_view(h); forget_if_done(h))
    throw(x.exception)
end

# Closes x, which may have tasks waiting. Returns what the library's close returns; 0 if x is closed already.
function shut(x, exception::Exception)
    h = x.handle
    return verb() do
        holding(() -> is_open(h) ? shut_held(x, exception) : 0, h)
    end
end

function shut_held(x, exception::Exception)
    h = x.handle
    x.exception = exception
    h.gate |= CLOSED
    try
        h.waits.tasks > 0 && interrupt(h)
        while h.waits.tasks > 0
            wait(h.waits.left)
        end
        shut_out(h)
    catch
        h.gate &= ~CLOSED
        rethrow()
    end
    unattend(h)
    close(x.watch)  # before its fd
    left = close_inside(h)
    h.gate = CLOSED
    return left
end

# Alone inside.
function close_inside(h::Handle)
    h.receives || return close_sender(h)
    # Another task may be reading the last view at this moment: it is left to that task.
    h.viewing && (h.views.owner === current_task() || istaskdone(h.views.owner)) && end_view(h)
    h.pending == IPC_MESSAGE && ipc_receiver_release(h.pointer, h.next)
    h.pending = 0
    left = ipc_receiver_close(h.pointer)
    left == 0 && (h.pointer = C_NULL)
    return Int(left)
end

function close_sender(h::Handle)
    h.viewing && return 0  # a room is being filled: its commit closes
    left = ipc_sender_close(h.pointer, 0)
    h.pointer = C_NULL
    return Int(left)
end

# Held, and x is closed: the release of the last message has freed the library's handle.
function forget_if_done(h::Handle)
    h.views.held == 0 && !h.viewing || return
    h.pointer = C_NULL
    h.views.orphan && give_back(h)
    return
end

# The finalizer: no lock, no switch of tasks. If it can't be done now, the next collection tries again.
function finish(x)
    quietly() do
        finished(x) || finalizer(finish, x)
    end
    return
end

# Whether x is closed. By finalize(x) one comes here too, so it may be in use.
function finished(x)
    h = x.handle
    is_foreign(h) && return true
    h.waits.tasks == 0 && claim(h) || return false
    done = (is_open(h) ? close_forgotten(x) : end_last_view(h)) && give_back_forgotten(h)
    unclaim(h)
    return done
end

function close_forgotten(x)
    h = x.handle
    try_shut_out(h) || return false
    unattend(h)
    close(x.watch)
    h.viewing && h.receives && end_view(h)
    left = close_for_good(h)
    h.gate = CLOSED
    left > 0 && say_at_once(lost_words(left, h.url))
    return true
end

# Which was left to its task by a close of another one.
function end_last_view(h::Handle)
    if h.receives && h.viewing
        end_view(h)
        h.views.held == 0 && (h.pointer = C_NULL)
    end
    return true
end

function give_back_forgotten(h::Handle)
    h.views.held == 0 && return try_give_back(h)
    h.views.orphan = true
    return true
end

# At exit: receivers are told of an end, not of a death, and the user of what nobody will get. Receivers first, so that what
# those of this process have not received counts.
function close_all()
    found = open_handles()
    for receives in (true, false), h in found
        h.receives == receives && claim(h) || continue
        left = 0
        if h.inside == C_NULL && is_open(h)
            h.gate = CLOSED
            left = close_for_good(h)
        end
        unclaim(h)
        left > 0 && warn_lost(left, h.url)
    end
    return
end

# A warning where no task may be switched, as printing does: in a finalizer, in the event loop.
function say_at_once(words::String)
    line = "Warning: $words\n"
    ccall(:write, Cssize_t, (Cint, Ptr{UInt8}, Csize_t), 2, line, sizeof(line))
    return
end

# Returns how many messages are lost.
function close_for_good(h::Handle)
    h.receives && (close_inside(h); return 0)
    h.viewing && finish_inside(h, -1, UInt64(0))  # a room that is being filled
    alone = is_alone(h)
    left = close_inside(h)
    return alone ? left : 0
end

# Inside. Whether no receiver is there for what h has sent.
function is_alone(h::Handle)
    ipc_sender_arm(h.pointer)  # so that it looks
    _, counted = read_counters(h, ipc_sender_stats, RawSenderCounters)
    return counted.links == 0 && counted.unlinked == 0
end

Base.isopen(x::Union{Receiver,Sender}) = is_open(x.handle)
