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
    (alone ? h.waits.tasks > 0 : h.waits.alone) && throw(ConcurrencyError(h.url))
    return
end

# What a verb that may have to wait is asked for. Both functions are called inside, with the handle, and are to be inlined:
# where a function begins may be a safepoint (handle.jl).
struct Request{A,F,T}
    attempt::A  # tries once, and returns a code of the library
    finish::F   # what the verb returns when an attempt has succeeded
    timeout::T  # as the user gave it
    alone::Bool # for one task at a time
end

const UNTRIED = typemin(Int32)
# So does an attempt end: with 0, or with a message.
@inline succeeded(code::Int32) = (0 <= code) & (code <= IPC_MESSAGE)

# A verb that may have to wait.
@inline function at_once(x, request::Request, h::Handle=x.handle)
    begin_verb(h, request.timeout)
    return attempt_once(x, request, h)
end

# The fast path: one attempt, which nearly always succeeds. Where it doesn't, slowly(x, request, code) goes on from its code.
@inline function attempt_once(x, request::Request, h::Handle)
    code = UNTRIED
    if (request.alone || one_thread()) && tryenter(h)
        code = request.attempt(h)
        if succeeded(code)
            result = request.finish(h)
            leave(h)
            return result
        end
        leave(h)
    end
    # Made anew: only here is it stored in memory.
    return slowly(x, Request(request.attempt, request.finish, request.timeout, request.alone), code)
end

# The slow path: waits. Senders that end or die meanwhile are told of, and go by.
@noinline function slowly(x, request::Request, code::Int32)
    limit = deadline(request.timeout)
    while true
        result = await(x, request, limit, code)
        result isa News || return result
        tell(x, result)
        code = UNTRIED
    end
end

# A sender has ended or died: what await returns then, to be called again.
struct News
    code::Int32
    sender::UInt64
end

# Attempts until it would not have to wait, and finishes, holding x. `code` is what the first attempt said already, if there
# was one; the time-out ends at `limit`.
#
# Ctrl-C is seen before each attempt and during a sleep, where nothing is half done, and nowhere else.
await(x, request::Request, limit::Int64, code::Int32) = verb(() -> await_undisturbed(x, request, limit, code))

see_interrupts() = reenable_sigint(() -> nothing)

function await_undisturbed(x, request::Request, limit::Int64, code::Int32)
    h = x.handle
    counted = false
    began = Int64(0)
    local result  # a return from within would let the compiler think that there may be none
    lock(h)
    try
        admit(x, request.alone)
        code > 0 && (code = UNTRIED)  # it is there still
        while true
            code == UNTRIED && (unless_meant_for_another(see_interrupts); code = locked(request.attempt, h))
            if code != EAGAIN
                code < 0 && throw_error(h, code)
                succeeded(code) && began != 0 && learn(h.waits, Int64(time_ns()) - began)
                result = succeeded(code) ? locked(request.finish, h) : locked(take_news, h)
                break
            end
            now = Int64(time_ns())
            if began == 0
                began = now
                code = spin(request.attempt, h)
                code == EAGAIN || continue
            end
            now < limit || throw(TimeoutError(in_the_way(x, request.timeout), request.timeout))
            if !counted
                count_in(h, request.alone)
                counted = true
            end
            limit == typemax(Int64) || set_alarm(x.watch, limit, now)
            sleep_armed(x)
            is_open(h) || throw_closed(x)
            code = UNTRIED
        end
    finally
        h.inside == me() && leave(h)  # finishing may allocate, and so throw
        if counted
            limit == typemax(Int64) || !is_open(h) || clear_alarm(x.watch)
            count_out(h)
        end
        # What we saw of the fd's readiness, those who wait still have not seen.
        h.waits.tasks > 0 && is_open(h) && interrupt(h)
        unlock(h)
    end
    return result
end

function count_in(h::Handle, alone::Bool)
    h.waits.tasks += 1
    h.waits.alone = alone
    h.gate |= WAITED
    return
end

function count_out(h::Handle)
    waits = h.waits
    waits.tasks -= 1
    waits.alone = false
    waits.tasks == 0 && (h.gate &= ~WAITED)
    notify(waits.left)
    h.turns.ran_ns = coarse_ns()
    note_user(h)
    was_used(h)
    return
end

# Sleeps once, without holding it, unless there is something to be seen. An interrupt is no more than a reason to look again.
@noinline function sleep_armed(x)
    h = x.handle
    x.watch.watcher === nothing && prepare_to_wait(x.watch)
    locked(arm, h) == 1 || return
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
    h.waits.spin_ns == 0 && return EAGAIN
    limit = Int64(time_ns()) + h.waits.spin_ns
    while Int64(time_ns()) < limit
        for _ in 1:16
            code = locked(attempt, h)
            code == EAGAIN || return code
            ccall(:jl_cpu_pause, Cvoid, ())
        end
        GC.safepoint()
    end
    # In vain: no more of it until several short waits have been seen.
    h.waits.wait_ns = 10 * most_spin_ns
    return EAGAIN
end

function learn(waits::Waits, waited_ns::Int64)
    waits.wait_ns += (min(waited_ns, 10 * most_spin_ns) - waits.wait_ns) ÷ 4
    waits.spin_ns = Sys.CPU_THREADS == 1 || waits.wait_ns > most_spin_ns ÷ 2 ? 0 : min(2 * waits.wait_ns + 5_000, most_spin_ns)
    return
end

@noinline function throw_error(h::Handle, code::Int32)
    code == EBUSY && throw(ConcurrencyError(h.url))
    code == EINVAL && !h.receives && h.viewing &&
        throw(IPCError(code, "$(h.url): a message is being filled already: `send(f, s, n)` has not returned"))
    throw(IPCError(code, "$(h.url): $(strerror(code))"))
end
