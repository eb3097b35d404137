# What the package keeps for each open sender and receiver, and the one way into the library.
#
# A Handle is memory that the package owns and never frees: a Message points to its words after the Receiver has been
# collected, and whoever exchanges the library finds all handles in `handles`. One that is done with is used again.
#
# Who may call. The fast verbs (recv, send) take no lock. Each stores its task into `inside`, looks at `gate`, calls, and
# clears `inside`. Everything else holds `lock`. Who must be alone (stats, close, exchanging the library) holds the lock,
# sets SHUT in `gate`, lets the kernel run a barrier on all threads, and waits until `inside` is clear: a fast verb that
# has not seen SHUT has shown itself in `inside`. So the fast verbs pay for two stores and a load.

mutable struct Slot
    generation::UInt  # a view is good while it has this number; first, as views read it through a bare pointer
    handle::Any       # the Handle
    Slot(handle) = new(1, handle)
end

const most_spin_ns = 50_000  # a sleep and its wake-up cost about 10 us on both sides

# The bits of `gate`: none set means that a fast verb may pass.
const SHUT = UInt(1)     # somebody is alone inside
const CLOSED = UInt(2)
const WAITED = UInt(4)   # tasks wait
const PENDING = UInt(8)  # `peeked` holds a message that nobody has taken yet

mutable struct Handle
    inside::Ptr{Cvoid}   # the task whose call is inside the library, or null
    gate::UInt
    pointer::Ptr{Cvoid}  # the library's handle, or null
    slot::Slot           # of the view that recv or reserve gave out last
    viewing::Bool        # that view is good still
    owner::Task          # that it was given to
    message::RawMessage  # that view's, as the library wrote it
    peeked::RawMessage
    scratch::RawMessage
    room::Ptr{UInt8}     # where reserve points to
    committed::Int       # how much of the room will be sent
    peer::UInt64         # the sender of the last end or death
    receives::Bool
    url::String
    held::Int            # messages held
    orphan::Bool         # its Receiver is gone, the last release ends it
    interrupted::Bool    # the user asked the blocked thread to stop
    waiting::Int         # tasks that wait
    alone::Bool          # the one that waits is in a fast verb
    spin_ns::Int
    wait_ns::Int         # mean of waits
    lock::ReentrantLock
    left::Threads.Condition  # a waiting task has left
    slots::Vector{Slot}      # all of this handle, and those that no view uses
    free::Vector{Slot}
    function Handle()
        h = new(C_NULL, CLOSED, C_NULL)
        h.slots, h.free = Slot[], Slot[]
        h.slot = free_slot(h)
        h.viewing = h.receives = h.orphan = h.interrupted = h.alone = false
        h.owner = current_task()
        h.room = C_NULL
        h.message = h.peeked = h.scratch = blank(RawMessage)
        h.committed = h.held = h.waiting = h.spin_ns = 0
        h.wait_ns = 10 * most_spin_ns
        h.peer = 0
        h.url = ""
        h.lock = ReentrantLock()
        h.left = Threads.Condition(h.lock)
        return h
    end
end

function free_slot(h::Handle)
    isempty(h.free) || return pop!(h.free)
    slot = push!(h.slots, Slot(h))[end]
    sizehint!(h.free, length(h.slots))  # so that giving it back allocates nothing
    return slot
end

# Where the library writes to. Handles don't move and are never freed.
offset(name) = fieldoffset(Handle, findfirst(==(name), fieldnames(Handle)))
const message_offset, peeked_offset, scratch_offset, room_offset = map(offset, (:message, :peeked, :scratch, :room))
@inline message_address(h::Handle) = Ptr{RawMessage}(pointer_from_objref(h) + message_offset)
@inline peeked_address(h::Handle) = Ptr{RawMessage}(pointer_from_objref(h) + peeked_offset)
@inline scratch_address(h::Handle) = Ptr{RawMessage}(pointer_from_objref(h) + scratch_offset)
@inline room_address(h::Handle) = Ptr{Ptr{UInt8}}(pointer_from_objref(h) + room_offset)

# All that were ever made, and those of them that nobody uses. Finalizers come here: they only try the lock.
const handles = Handle[]
const spare = Handle[]
const handles_lock = Threads.SpinLock()

function new_handle(pointer::Ptr{Cvoid}, receives::Bool, url::String)
    lock(handles_lock)
    h = isempty(spare) ? push!(handles, Handle())[end] : pop!(spare)
    unlock(handles_lock)
    h.pointer = pointer
    h.receives = receives
    h.url = url
    h.orphan = h.interrupted = false
    h.spin_ns = 0
    h.wait_ns = 10 * most_spin_ns
    h.gate = 0
    return h
end

function open_handles()
    lock(handles_lock)
    found = filter(h -> h.gate & CLOSED == 0, handles)
    unlock(handles_lock)
    return found
end

# False if it can't be done now.
function give_back(h::Handle)
    trylock(handles_lock) || return false
    push!(spare, h)
    unlock(handles_lock)
    return true
end

@inline me() = pointer_from_objref(current_task())
# Keeps the compiler from moving accesses to memory across it; no instruction.
@inline compiler_fence() = Base.llvmcall("fence syncscope(\"singlethread\") seq_cst\nret void", Cvoid, Tuple{})

# ---- The fast way in ----

# False if the slow way must be taken. After true, leave(h).
@inline function tryenter(h::Handle)
    h.gate == 0 || return false
    task = me()
    (h.inside == C_NULL) | (h.inside == task) || throw(ConcurrencyError(h.url))
    h.inside = task
    compiler_fence()
    h.gate == 0 && return true
    h.inside = C_NULL
    return false
end

@inline function leave(h::Handle)
    compiler_fence()
    h.inside = C_NULL
    return
end

# ---- With the lock held ----

# Calls f(), which calls the library and nothing that could throw.
@inline function locked(f::F, h::Handle) where {F}
    # A collected Receiver's finalizer may be alone inside without the lock, when all that is left is a held message.
    while h.gate & SHUT != 0
        ccall(:jl_cpu_pause, Cvoid, ())
        GC.safepoint()
    end
    task = me()
    h.inside == C_NULL || h.inside == task || throw(ConcurrencyError(h.url))
    h.inside = task
    compiler_fence()
    result = f()
    leave(h)
    return result
end

# Calls f() while nobody else is inside, however long they wanted to stay. Ctrl-C is seen afterwards: it would leave the
# gate shut.
exclusively(f, h::Handle) = disable_sigint(() -> exclusively_undisturbed(f, h))

function exclusively_undisturbed(f, h::Handle)
    lock(h.lock)
    try
        was_shut = h.gate & SHUT != 0
        was_shut || shut_out(h)
        try
            return f()
        finally
            was_shut || (h.gate &= ~SHUT)
            h.waiting > 0 && interrupt(h)
        end
    finally
        unlock(h.lock)
    end
end

# While f runs the task stays on the thread it is on, also where tasks move from thread to thread.
function on_this_thread(f)
    task = current_task()
    sticky, task.sticky = task.sticky, true
    try
        return f()
    finally
        task.sticky = sticky
    end
end

const patience_ns = 10_000_000_000  # for a call that is to leave the library

function shut_out(h::Handle, patience=patience_ns)
    h.gate |= SHUT
    barrier()
    began = time_ns()
    while h.inside != C_NULL && h.inside != me()
        interrupt(h)
        yield()
        if time_ns() - began > patience
            h.gate &= ~SHUT
            throw(ConcurrencyError(h.url))
        end
    end
    return
end

@inline interrupt(h::Handle) = h.receives ? ipc_receiver_interrupt(h.pointer) : ipc_sender_interrupt(h.pointer)
arm(h::Handle) = h.receives ? ipc_receiver_arm(h.pointer) : ipc_sender_arm(h.pointer)

# membarrier(2): a full barrier on each thread of this process, so that what fast verbs stored without one is seen here.
const membarrier_number = Sys.ARCH === :x86_64 ? 324 : Sys.ARCH === :aarch64 ? 283 : -1
membarrier(command) = ccall(:syscall, Clong, (Clong, Cint, Cuint, Cint), membarrier_number, command, 0, 0)
barrier() = (membarrier(1 << 3); nothing)            # PRIVATE_EXPEDITED
register_barrier() = (membarrier(1 << 4); nothing)   # REGISTER_PRIVATE_EXPEDITED
