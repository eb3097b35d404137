# What the package keeps for each open sender and receiver, and the one way into the library.
#
# A Handle is memory that the package owns and never frees: a Message points to its words after the Receiver has been
# collected, and whoever exchanges the library finds all handles in `handles`. One that is done with is used again.
#
# Who may call. The fast verbs (recv, send) take no lock. Each stores its task into `inside`, looks at `gate`, calls, and
# clears `inside`: by attempt_once (waiting.jl), or inside() where nothing is waited for. Everything else holds the handle,
# by lock(h). Who must be alone (stats, close, exchanging the library) holds it, sets SHUT in `gate`, lets the kernel run a
# barrier on all threads, and waits until `inside` is clear: a fast verb that has not seen SHUT has shown itself in
# `inside`. So the fast verbs pay for two stores and a load.
#
# The collector, and those who come by the table of handles. Who uses a Receiver or Sender keeps it from being collected.
# Who comes by `handles` (opening tells the senders of this process; the library is exchanged), or by a Message that is
# held, does not: he holds the handle, and looks only then whether it is open and what it is. A finalizer may wait for
# nobody and may run within any of these, on their thread or on another. So it takes the handle only if nobody holds it
# and nobody is inside, and puts itself off to the next collection otherwise; whoever wants to hold the handle meanwhile
# waits until the finalizer has closed it. `holders.count` says which: the number of those that hold the handle, or -1. Of
# `handles_lock` the finalizer makes one try, too. Nothing else keeps opening, closing, exchanging and collecting apart.
#
# Ctrl-C. A verb lets an InterruptException out before it has done anything, or while it waits, and not afterwards: so a
# message was given or comes again, and one was sent or was not. Julia may throw it at each safepoint of the first thread:
# where an allocation, a lock, a switch of tasks or a gc-safe region ends, and, from Julia 1.10 on, where a function begins.
#   - A fast verb has one safepoint, at its start, and not in every call. From there to its return all is inlined, and
#     allocates nothing.
#   - Everything else runs in a region where Ctrl-C waits: by disable_sigint, where nothing is lost if it comes out at the
#     end; else by `verb` or `quietly`, after which it comes out in the caller.
#   - What is received is in `next` until a fast verb, or a region, gives it: `pending` says so.

mutable struct Slot
    generation::UInt  # a view is good while it has this number; first, as views read it through a bare pointer
    handle::Any       # the Handle
    next::Slot        # in the list of free ones; itself at the end
    function Slot(handle)
        slot = new(1, handle)
        slot.next = slot
        return slot
    end
end
const no_slot = Slot(nothing)
const no_user = WeakRef(nothing)

const most_spin_ns = 50_000  # a sleep and its wake-up cost about 10 us on both sides

# A random number of this process, by which what was made in another one is known: a Message that was saved, a handle in a
# package's precompiled image. Not 0, and without the bits of `gate`.
mutable struct Session
    number::UInt
end
const session = Session(0)
begin_session() = (session.number = (hash(time_ns(), hash(UInt64(getpid()), reinterpret(UInt64, time()))) | 1) << 3; nothing)

# What `gate` is: the session's number, and these bits. None set means that a fast verb may pass.
const SHUT = UInt(1)    # somebody is alone inside
const CLOSED = UInt(2)
const WAITED = UInt(4)  # tasks wait

# What it has given out: views, or a room.
mutable struct Views
    owner::Task          # whom the last one was given to
    committed::Int       # of a room: how much of it will be sent
    held::Int
    orphan::Bool         # the Receiver is gone, the last release ends the handle
    slots::Vector{Slot}  # all
    free::Slot           # the first of those that no view uses, or no_slot
    buffers::Vector{RawMessage}  # what `current` and `next` point to
end
Views() = Views(current_task(), 0, 0, false, Slot[], no_slot, [blank(RawMessage), blank(RawMessage)])

# When others had their turn, see turns.jl, and whether it was used, see attending.jl.
mutable struct Turns
    left::Int       # calls until the clock is looked at
    stride::Int     # so many from one look to the next
    tick_ns::Int    # what the clock said
    ran_ns::Int     # when others ran last
    user::WeakRef   # the task whose call looked at the clock last
    attended::Bool  # nobody has used the handle since the library was let look
end
Turns() = Turns(1, 1, 0, coarse_ns(), no_user, false)

# Who waits, and how, see waiting.jl.
mutable struct Waits
    tasks::Int         # that wait
    alone::Bool        # the one that waits is in a fast verb
    blocking::Bool     # in recv_blocking, which waits
    interrupted::Bool  # the user asked the blocked thread to stop
    spin_ns::Int
    wait_ns::Int       # mean of waits
    left::Threads.Condition  # a waiting task has left
    folder::String     # where others are looked for, once a time-out has told it: the library looks at all processes for it
end
Waits(lock::ReentrantLock) = Waits(0, false, false, false, 0, 10 * most_spin_ns, Threads.Condition(lock), "")

# Who holds the handle.
struct Holders
    lock::ReentrantLock
    count::Threads.Atomic{Int}  # -1: the collector
end
Holders() = Holders(ReentrantLock(), Threads.Atomic{Int}(0))

# What each message has to do with stands in it, all else in its parts.
mutable struct Handle
    inside::Ptr{Cvoid}   # the task whose call is inside the library, or null
    gate::UInt
    pointer::Ptr{Cvoid}  # the library's handle, or null
    slot::Slot           # of the view that recv or reserve gave out last
    viewing::Bool        # that view is good still
    current::Ptr{RawMessage}  # that view's message, as the library wrote it
    next::Ptr{RawMessage}     # where the library writes the next one, and reserve where the room is
    pending::Int32       # what is in `next` and nobody has had: IPC_MESSAGE, IPC_END, IPC_DIED, or 0
    receives::Bool
    url::String
    views::Views
    turns::Turns
    waits::Waits
    holders::Holders
    # With all fields, so that none is looked at for being there.
    function Handle()
        views, holders = Views(), Holders()
        current = pointer(views.buffers)
        h = new(C_NULL, CLOSED, C_NULL, no_slot, false, current, current + sizeof(RawMessage), 0, false, "", views, Turns(),
                Waits(holders.lock), holders)
        h.slot = push!(views.slots, Slot(h))[1]
        return h
    end
end

# For a view that is held: made before anything is changed, as this allocates.
@noinline function add_slot(h::Handle)
    holding(h) do
        views = h.views
        slot = push!(views.slots, Slot(h))[end]
        slot.next = views.free
        views.free = slot
    end
    return
end

# Reserve writes where a message's data would be.
const data_offset = fieldoffset(RawMessage, 2)
@inline room_address(h::Handle) = Ptr{Ptr{UInt8}}(h.next + data_offset)
@inline room_of(h::Handle) = unsafe_load(h.next).data

# All that were ever made, and those of them that nobody uses.
const handles = Handle[]
const spare = Handle[]
const handles_lock = Threads.SpinLock()

function new_handle(pointer::Ptr{Cvoid}, receives::Bool, url::String)
    lock(handles_lock)
    h = isempty(spare) ? push!(handles, Handle())[end] : pop!(spare)
    unlock(handles_lock)
    lock(h)
    h.pointer = pointer
    h.receives = receives
    h.url = url
    h.pending = 0
    h.views.orphan = false
    h.turns = Turns()
    h.waits = Waits(h.holders.lock)
    h.gate = session.number
    unlock(h)
    return h
end

@inline is_open(h::Handle) = h.gate & ~(SHUT | WAITED) == session.number
# Made by another process: that which precompiled a package.
is_foreign(h::Handle) = h.gate & CLOSED == 0 && !is_open(h)

# Before they are held, they may have become others.
function open_handles()
    found = Handle[]
    i = 0
    while (h = handle_at(i += 1)) !== nothing
        is_open(h) && push!(found, h)
    end
    return found
end

# Or nothing, beyond the last one.
function handle_at(i::Int)
    lock(handles_lock)
    h = i <= length(handles) ? handles[i] : nothing
    unlock(handles_lock)
    return h
end

function give_back(h::Handle)
    lock(handles_lock)
    push!(spare, h)
    unlock(handles_lock)
    return
end

# The same, or false if it would have to wait.
function try_give_back(h::Handle)
    trylock(handles_lock) || return false
    push!(spare, h)
    unlock(handles_lock)
    return true
end

# ---- Ctrl-C ----

mutable struct Pressed
    again::Bool
end
const pressed = Pressed(false)

# Calls f(), and returns what that does whatever is pressed meanwhile. A Ctrl-C that came too late to be seen by f wants
# out at the end of the region: it is caught, and pressed once more. From there to the caller's return is no safepoint.
@inline function quietly(f::F, too_late::G=press_again) where {F,G}
    done = false
    local result
    try
        Base.sigatomic_begin()
        result = f()
        done = true
        Base.sigatomic_end()
    catch
        done || rethrow()
        too_late()
    end
    return result
end

@noinline function press_again()
    pressed.again = true
    ccall(:kill, Cint, (Cint, Cint), getpid(), 2)
    return
end

# The same for a verb. What was pressed once more takes a moment to arrive. In a loop over one verb it would arrive within
# the next one again and again: so the next one waits for it.
@inline function verb(f::F) where {F}
    pressed.again && see_pressed()
    return quietly(f, hand_over_or_press_again)
end

@noinline hand_over_or_press_again() = quietly(() -> hand_over(InterruptException())) || press_again()

@noinline function see_pressed()
    Threads.threadid() == 1 || return
    pressed.again = false
    began = time_ns()
    unless_meant_for_another() do
        while time_ns() - began < 10_000_000
            GC.safepoint()
            ccall(:sched_yield, Cint, ())
        end
    end
    return
end

# ---- Who holds a handle ----

# Only where Ctrl-C waits.
function Base.lock(h::Handle)
    lock(h.holders.lock)
    count = h.holders.count
    while true
        before = count[]
        before >= 0 && Threads.atomic_cas!(count, before, before + 1) == before && return
        ccall(:jl_cpu_pause, Cvoid, ())
        GC.safepoint()
    end
end

function Base.unlock(h::Handle)
    h.holders.count[] -= 1  # nobody else changes it
    unlock(h.holders.lock)
    return
end

# Compiled once, as `exclusively` is: anew for each f, opening a first handle took 15 to 25 ms more for each.
function holding(@nospecialize(f), h::Handle)
    disable_sigint() do
        lock(h)
        try
            return f()
        finally
            unlock(h)
        end
    end
end

# For a finalizer: without waiting, and not within another's holding it.
claim(h::Handle) = Threads.atomic_cas!(h.holders.count, 0, -1) == 0
unclaim(h::Handle) = (h.holders.count[] = 0; nothing)

@inline me() = pointer_from_objref(current_task())
# Keeps the compiler from moving accesses to memory across it; no instruction.
@inline compiler_fence() = Base.llvmcall("fence syncscope(\"singlethread\") seq_cst\nret void", Cvoid, Tuple{})

# ---- The fast way in ----

# Calls f(h) inside, or otherwise(h) if the slow way must be taken. f is inlined, and neither throws nor allocates.
@inline function inside(f::F, otherwise::G, h::Handle) where {F,G}
    tryenter(h) || return otherwise(h)
    result = f(h)
    leave(h)
    return result
end

# False if the slow way must be taken. After true, leave(h).
@inline function tryenter(h::Handle)
    h.gate == session.number || return false
    task = me()
    (h.inside == C_NULL) | (h.inside == task) || throw(ConcurrencyError(h.url))
    h.inside = task
    compiler_fence()
    h.gate == session.number && return true
    h.inside = C_NULL
    return false
end

@inline function leave(h::Handle)
    compiler_fence()
    h.inside = C_NULL
    return
end

# With one thread nobody is inside when a task calls: so those verbs that any number of tasks may use can go in this way.
@inline one_thread() = unsafe_load(cglobal(:jl_n_threads, Cint)) == 1

# ---- Holding the handle ----

# Calls f(h), which calls the library and nothing that could throw.
@inline function locked(f::F, h::Handle) where {F}
    task = me()
    h.inside == C_NULL || h.inside == task || throw(ConcurrencyError(h.url))
    h.inside = task
    compiler_fence()
    result = f(h)
    leave(h)
    return result
end

# Calls f() while nobody else is inside, however long they wanted to stay.
exclusively(@nospecialize(f), h::Handle) = holding(() -> with_others_out(f, h), h)

# Held.
function with_others_out(@nospecialize(f), h::Handle)
    was_shut = h.gate & SHUT != 0  # by this task
    was_shut || shut_out(h)
    try
        return f()
    finally
        was_shut || (h.gate &= ~SHUT)
        h.waits.tasks > 0 && interrupt(h)
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
    try
        while h.inside != C_NULL && h.inside != me()
            interrupt(h)
            yield()
            time_ns() - began > patience && throw(ConcurrencyError(h.url))
        end
    catch
        h.gate &= ~SHUT
        rethrow()
    end
    return
end

# The same without waiting, for who has claimed it.
function try_shut_out(h::Handle)
    h.gate |= SHUT
    barrier()
    h.inside == C_NULL && return true
    h.gate &= ~SHUT
    return false
end

@inline interrupt(h::Handle) = h.receives ? ipc_receiver_interrupt(h.pointer) : ipc_sender_interrupt(h.pointer)
arm(h::Handle) = h.receives ? ipc_receiver_arm(h.pointer) : ipc_sender_arm(h.pointer)

# membarrier(2): a full barrier on each thread of this process, so that what fast verbs stored without one is seen here.
const membarrier_number = Sys.ARCH === :x86_64 ? 324 : Sys.ARCH === :aarch64 ? 283 : -1
membarrier(command) = ccall(:syscall, Clong, (Clong, Cint, Cuint, Cint), membarrier_number, command, 0, 0)
barrier() = (membarrier(1 << 3); nothing)            # PRIVATE_EXPEDITED
register_barrier() = (membarrier(1 << 4); nothing)   # REGISTER_PRIVATE_EXPEDITED
