# What the package does for open handles while nobody is in a verb: it lets the library look at what has come, so that
# newcomers are served, and figures in lists are right.
#
# All handles' fds are in one epoll, which Julia's event loop watches. An event, and a verb that takes a while or waits, sets
# an alarm, also in that epoll. When it rings, each handle that was used or had an event since is let look, and its fd is
# watched again: for one event, so that a handle in use, or one whose fd stays ready, wakes nothing again and again.
#
# This is done by a callback of the event loop, and by no task: Julia throws Ctrl-C into the task that ran last. As a
# finalizer, it takes a handle only if nobody has it; who comes meanwhile waits for it, see handle.jl. Who is in the way sets
# the alarm when he leaves, or else it is set again.

const EPOLL_CTL_DEL = 2
const EPOLL_CTL_MOD = 3
const EPOLLONESHOT = UInt64(1) << 30
const EPOLLET = UInt64(1) << 31
const UV_READABLE = 1
const attending_ns = 50_000_000

# struct epoll_event, which is packed on one processor
const event_size, event_data = Sys.ARCH === :x86_64 ? (12, 4) : (16, 8)
event(events::UInt64, data::UInt64) = event_data == 4 ? (events | data << 32, data >> 32) : (events, data)
const most_events = 64

mutable struct Attendant
    epoll::Cint
    timer::Cint
    due::Bool  # the alarm is set
    events::Vector{UInt8}
end
const attendant = Attendant(-1, -1, false, UInt8[])

# With the library's lock.
function attend(h::Handle)
    attendant.epoll < 0 && start_attending()
    control(EPOLL_CTL_ADD, h)
    was_used(h)
    return
end

# Before its fd is closed.
unattend(h::Handle) = control(EPOLL_CTL_DEL, h)

# Who opens a first handle doesn't wait until all this is compiled.
attend_all(::Ptr{Cvoid}, ::Cint, ::Cint) = (quietly(() -> rarely(take_events), hand_over_or_press_again); nothing)

function start_attending()
    attendant.due = false
    attendant.events = zeros(UInt8, most_events * event_size)
    attendant.timer = ccall(:timerfd_create, Cint, (Cint, Cint), CLOCK_MONOTONIC, TFD_CLOEXEC)
    attendant.epoll = ccall(:epoll_create1, Cint, (Cint,), EPOLL_CLOEXEC)
    control(EPOLL_CTL_ADD, attendant.timer, EPOLLIN, C_NULL)
    # Not by FileWatching, which has a task wait. Freed by Julia when it ends.
    poll = Libc.malloc(Base._sizeof_uv_poll)
    Base.disassociate_julia_struct(poll)
    Base.iolock_begin()
    ccall(:uv_poll_init, Cint, (Ptr{Cvoid}, Ptr{Cvoid}, Cint), Base.eventloop(), poll, attendant.epoll)
    ccall(:uv_poll_start, Cint, (Ptr{Cvoid}, Cint, Ptr{Cvoid}), poll, UV_READABLE,
          @cfunction(attend_all, Cvoid, (Ptr{Cvoid}, Cint, Cint)))
    Base.iolock_end()
    return
end

control(what, h::Handle) =
    control(what, h.receives ? ipc_receiver_fd(h.pointer) : ipc_sender_fd(h.pointer), EPOLLIN | EPOLLONESHOT | EPOLLET,
            pointer_from_objref(h))

function control(what, fd::Cint, events::UInt64, data::Ptr{Cvoid})
    ccall(:epoll_ctl, Cint, (Cint, Cint, Cint, Ref{NTuple{2,UInt64}}), attendant.epoll, what, fd, event(events, UInt64(data)))
    return
end

# By whoever leaves h, or has had an event of it.
@inline function was_used(h::Handle)
    h.turns.attended = false
    attendant.due || ring_later()
    return
end

@noinline function ring_later()
    attendant.due = true
    ccall(:timerfd_settime, Cint, (Cint, Cint, Ref{NTuple{4,Int64}}, Ptr{Cvoid}), attendant.timer, 0,
          (0, 0, 0, attending_ns), C_NULL)
    return
end

function take_events()
    rung = false
    buffer = attendant.events
    GC.@preserve buffer begin
        p = pointer(buffer)
        n = ccall(:epoll_wait, Cint, (Cint, Ptr{UInt8}, Cint, Cint), attendant.epoll, p, most_events, 0)
        for i in 0:(n - 1)
            data = unsafe_load(Ptr{Ptr{Cvoid}}(p + i * event_size + event_data))
            data == C_NULL ? (rung = true) : was_used(unsafe_pointer_to_objref(data)::Handle)
        end
    end
    rung && let_all_look()
    return
end

function let_all_look()
    expirations = Ref(UInt64(0))
    ccall(:read, Cssize_t, (Cint, Ref{UInt64}, Csize_t), attendant.timer, expirations, 8)
    attendant.due = false
    i = 0
    while (h = handle_at(i += 1)) !== nothing
        tell_if_user_was_ended(h)
        h.turns.attended || h.waits.tasks > 0 || h.waits.blocking || !is_open(h) || let_look(h) || was_used(h)
    end
    return
end

# False if somebody has it.
function let_look(h::Handle)
    claim(h) || return false
    free = !is_open(h) || try_shut_out(h)
    if free && h.gate & CLOSED == 0
        h.receives ? ipc_receiver_links(h.pointer, Ptr{RawLink}(C_NULL), 0) : ipc_sender_arm(h.pointer)
        control(EPOLL_CTL_MOD, h)
        h.turns.attended = true
        h.gate &= ~SHUT
    end
    unclaim(h)
    return free
end
