# What a task sleeps on: the handle's fd and an alarm, as one fd with one watcher, made once, for the first sleep: the first
# of all takes 50 ms of compiling. (A watcher made for each wait costs more, and may never wake.) The alarm is no Timer: that
# runs a task, and Julia throws Ctrl-C into the task that ran last, which must be the one that waits.

const EPOLL_CLOEXEC = 0o2000000
const EPOLL_CTL_ADD = 1
const EPOLLIN = UInt64(1)  # struct epoll_event starts with it, and what follows doesn't matter
const CLOCK_MONOTONIC = 1  # time_ns() reads it too
const TFD_CLOEXEC = 0o2000000
const TFD_TIMER_ABSTIME = 1

mutable struct Watch
    watcher::Union{Nothing,FDWatcher}
    epoll::Cint
    timer::Cint
    due_ns::Int64  # when the alarm rings; typemax(Int64): not at all
    function Watch(fd::Cint)
        epoll = timer = Cint(-1)
        try
            epoll = ccall(:epoll_create1, Cint, (Cint,), EPOLL_CLOEXEC)
            systemerror("epoll_create1", epoll < 0)
            timer = ccall(:timerfd_create, Cint, (Cint, Cint), CLOCK_MONOTONIC, TFD_CLOEXEC)
            systemerror("timerfd_create", timer < 0)
            for one in (fd, timer)
                failed = ccall(:epoll_ctl, Cint, (Cint, Cint, Cint, Ref{NTuple{2,UInt64}}), epoll, EPOLL_CTL_ADD, one,
                               (EPOLLIN, 0)) < 0
                systemerror("epoll_ctl", failed)
            end
            return new(nothing, epoll, timer, typemax(Int64))
        catch
            foreach(close_fd, (epoll, timer))
            rethrow()
        end
    end
end

close_fd(fd::Cint) = fd < 0 || ccall(:close, Cint, (Cint,), fd)

# Before the handle's fd, and the watcher first.
function Base.close(w::Watch)
    w.watcher === nothing || close(w.watcher)
    foreach(close_fd, (w.epoll, w.timer))
    w.epoll = w.timer = -1
    return
end

# The handle is held.
@noinline prepare_to_wait(w::Watch) = (w.watcher = FDWatcher(RawFD(w.epoll), true, false); nothing)
Base.wait(w::Watch) = wait(w.watcher::FDWatcher)

# Wakes all that sleep at that time_ns(), or earlier if one of them has asked for it.
function set_alarm(w::Watch, at_ns::Int64, now_ns::Int64)
    now_ns < w.due_ns <= at_ns && return
    w.due_ns = at_ns
    set_timer(w, at_ns)
end

# The others must be woken, to set it again.
function clear_alarm(w::Watch)
    w.due_ns = typemax(Int64)
    set_timer(w, 0)
end

function set_timer(w::Watch, at_ns::Int64)
    ccall(:timerfd_settime, Cint, (Cint, Cint, Ref{NTuple{4,Int64}}, Ptr{Cvoid}), w.timer, TFD_TIMER_ABSTIME,
          (0, 0, fldmod(at_ns, 1_000_000_000)...), C_NULL)
    return
end
