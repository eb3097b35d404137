# Opening and closing, which are the same for both kinds of handle.

# The handle, and the watch on it. The library is not exchanged meanwhile.
function open_handle(open, receives::Bool, url::String, options)
    loaded()
    lock(the_library.lock) do
        pointer = open_pointer(open, url, options)
        watch = watched(pointer, receives)
        name = receives ? ipc_receiver_url(pointer) : ipc_sender_url(pointer)
        return new_handle(pointer, receives, unsafe_string(name)), watch
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
    any(o -> o !== h && o.receives == h.receives && o.url == h.url, open_handles()) || return
    noun, what = h.receives ? ("receiver", "it gets every message too, and senders wait for it") :
                 ("sender", "receivers wait for its end")
    @warn "this process has another $noun on $(h.url) open: until that one is closed or collected, $what"
    return
end

# A sender notices a new receiver in its next call. Those of this process may be waiting for nothing but this receiver.
function tell_own_senders(h::Handle)
    for o in open_handles()
        o.receives || o.url != h.url || exclusively(() -> arm(o), o)
    end
    return
end

@noinline function throw_closed(x)
    h = x.handle
    # The view that its task had when another task closed the receiver.
    h.receives && h.viewing && h.owner === current_task() && (end_view(h); forget_if_done(h))
    throw(x.exception)
end

# Closes x, which may have tasks waiting. Returns what the library's close returns; 0 if x is closed already. Ctrl-C is
# seen afterwards.
shut(x, exception::Exception) = disable_sigint(() -> shut_undisturbed(x, exception))

function shut_undisturbed(x, exception::Exception)
    h = x.handle
    lock(h.lock)
    try
        h.gate & CLOSED == 0 || return 0
        x.exception = exception
        h.gate |= CLOSED
        try
            h.waiting > 0 && interrupt(h)
            while h.waiting > 0
                wait(h.left)
            end
            shut_out(h)
        catch
            h.gate &= ~CLOSED
            rethrow()
        end
        close(x.watch)  # before its fd
        left = close_inside(h)
        h.gate = CLOSED
        return left
    finally
        unlock(h.lock)
    end
end

# Alone inside.
function close_inside(h::Handle)
    h.receives || return close_sender(h)
    # Another task may be reading the last view at this moment: it is left to that task.
    h.viewing && (h.owner === current_task() || istaskdone(h.owner)) && end_view(h)
    h.gate & PENDING != 0 && ipc_receiver_release(h.pointer, peeked_address(h))
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

# The lock is held, x is closed: the release of the last message has freed the library's handle.
function forget_if_done(h::Handle)
    h.held == 0 && !h.viewing || return
    h.pointer = C_NULL
    h.orphan && give_back(h)
    return
end

const finalizers_inside = Threads.Atomic{Int}(0)
const put_off_finalizers = Threads.Atomic{Bool}(false)  # the library is being exchanged

# The finalizer: no lock, no switch of tasks. If it can't be done now, the next collection tries again.
function finish(x)
    Threads.atomic_add!(finalizers_inside, 1)
    try
        put_off_finalizers[] ? finalizer(finish, x) : finish_now(x)
    finally
        Threads.atomic_sub!(finalizers_inside, 1)
    end
    return
end

function finish_now(x)
    h = x.handle
    if h.gate & CLOSED == 0
        h.gate |= SHUT
        barrier()
        if h.inside != C_NULL
            h.gate &= ~SHUT
            finalizer(finish, x)
            return
        end
        close(x.watch)
        h.viewing && (h.receives ? end_view(h) : finish_inside(h, -1, UInt64(0)))
        close_inside(h)
        h.gate = CLOSED
    elseif h.receives && h.viewing
        end_view(h)
        h.held == 0 && (h.pointer = C_NULL)
    end
    if h.held > 0
        h.orphan = true
    elseif !give_back(h)
        finalizer(finish, x)
    end
    return
end

# At exit: receivers are told of an end, not of a death.
function close_all()
    for h in open_handles()
        h.inside == C_NULL || continue
        h.gate = CLOSED
        h.receives || finish_inside(h, -1, UInt64(0))  # a room that is being filled
        close_inside(h)
    end
    return
end

Base.isopen(x::Union{Receiver,Sender}) = x.handle.gate & CLOSED == 0
