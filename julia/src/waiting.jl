# Waiting as Julia's own I/O does: try, look a little longer if messages came that fast lately, then sleep on the handle's
# fd, so that other tasks run.

@inline check_seconds(::Nothing) = nothing
@inline check_seconds(timeout::Real) = timeout >= 0 ? nothing : refuse_seconds(timeout)
@noinline refuse_seconds(timeout) =
    throw(ArgumentError("the time-out is $timeout seconds: give 0 or more, or nothing to wait for ever"))

deadline(::Nothing) = typemax(Int64)
function deadline(timeout::Real)
    check_seconds(timeout)
    ns = timeout * 1e9
    now = Int64(time_ns())
    return ns < typemax(Int64) - now ? now + ceil(Int64, ns) : typemax(Int64)
end

# Held. Throws unless x is open, and a task may wait beside those that do.
function admit(x, alone::Bool)
    h = x.handle
    is_open(h) || throw_closed(x)
    (alone ? h.waiting > 0 : h.alone) && throw(ConcurrencyError(h.url))
    return
end

const UNTRIED = typemin(Int32)

# A sender has ended or died: what await returns then, to be called again.
struct News
    code::Int32
    sender::UInt64
end

# Calls attempt(h) until it says something other than that it would have to wait, and returns finish(h). Both are called
# holding h. `code` is what the first attempt said already, if there was one. The time-out is given twice: as the user did,
# for the error, and as the time at which it ends.
#
# Ctrl-C is seen before each attempt and during a sleep, where nothing is half done, and nowhere else.
function await(attempt::A, finish::F, x, timeout, limit::Int64, alone::Bool, code::Int32) where {A,F}
    code == UNTRIED && let_others_run(x.handle)
    return verb(() -> await_undisturbed(attempt, finish, x, timeout, limit, alone, code))
end

see_interrupts() = reenable_sigint(() -> nothing)

function await_undisturbed(attempt::A, finish::F, x, timeout, limit::Int64, alone::Bool, code::Int32) where {A,F}
    h = x.handle
    counted = false
    began = Int64(0)
    lock(h)
    try
        admit(x, alone)
        code > 0 && (code = UNTRIED)  # it is there still
        while true
            code == UNTRIED && (unless_meant_for_another(see_interrupts); code = attempt(h))
            if code != EAGAIN
                (code == IPC_END || code == IPC_DIED) && return locked(() -> take_news(h), h)
                code < 0 && throw_error(h, code)
                began == 0 || learn(h, Int64(time_ns()) - began)
                return finish(h)
            end
            now = Int64(time_ns())
            if began == 0
                began = now
                code = spin(attempt, h)
                code == EAGAIN || continue
            end
            now < limit || throw(TimeoutError(in_the_way(x, timeout), timeout))
            if !counted
                count_in(h, alone)
                counted = true
            end
            limit == typemax(Int64) || set_alarm(x.watch, limit, now)
            sleep_armed(x)
            is_open(h) || throw_closed(x)
            code = UNTRIED
        end
    finally
        if counted
            limit == typemax(Int64) || !is_open(h) || clear_alarm(x.watch)
            count_out(h)
        end
        # What we saw of the fd's readiness, those who wait still have not seen.
        h.waiting > 0 && is_open(h) && interrupt(h)
        unlock(h)
    end
end

function count_in(h::Handle, alone::Bool)
    h.waiting += 1
    h.alone = alone
    h.gate |= WAITED
    return
end

function count_out(h::Handle)
    h.waiting -= 1
    h.alone = false
    h.waiting == 0 && (h.gate &= ~WAITED)
    notify(h.left)
    h.ran_ns = coarse_ns()
    note_user(h)
    was_used(h)
    return
end

# Sleeps once, without holding it, unless there is something to be seen. An interrupt is no more than a reason to look again.
@noinline function sleep_armed(x)
    h = x.handle
    x.watch.watcher === nothing && prepare_to_wait(x.watch)
    locked(() -> arm(h), h) == 1 || return
    unlock(h)
    try
        unless_meant_for_another(() -> reenable_sigint(() -> wait(x.watch)))
    finally
        lock_again(h)
    end
    return
end

# Who hands Ctrl-C over throws it into this task wherever that waits.
function lock_again(h::Handle)
    late = nothing
    while true
        try
            lock(h)
            break
        catch e
            e isa InterruptException || rethrow()
            late = e
        end
    end
    late === nothing || throw(late)
    return
end

# Attempts again and again, for as long as waits lately took if that was short.
function spin(attempt::A, h::Handle) where {A}
    h.spin_ns == 0 && return EAGAIN
    limit = Int64(time_ns()) + h.spin_ns
    while Int64(time_ns()) < limit
        for _ in 1:16
            code = attempt(h)
            code == EAGAIN || return code
            ccall(:jl_cpu_pause, Cvoid, ())
        end
        GC.safepoint()
    end
    # In vain: no more of it until several short waits have been seen.
    h.wait_ns = 10 * most_spin_ns
    return EAGAIN
end

function learn(h::Handle, waited_ns::Int64)
    h.wait_ns += (min(waited_ns, 10 * most_spin_ns) - h.wait_ns) ÷ 4
    h.spin_ns = Sys.CPU_THREADS == 1 || h.wait_ns > most_spin_ns ÷ 2 ? 0 : min(2 * h.wait_ns + 5_000, most_spin_ns)
    return
end

@noinline function throw_error(h::Handle, code::Int32)
    code == EBUSY && throw(ConcurrencyError(h.url))
    code == EINVAL && !h.receives && h.viewing &&
        throw(IPCError(code, "$(h.url): a message is being filled already: `send(f, s, n)` has not returned"))
    throw(IPCError(code, "$(h.url): $(strerror(code))"))
end
