# Taking turns. A loop over a verb that never has to wait would let no other task run. So each verb, before it does anything,
# sees to it that others run when they have not for a while. Most calls only count: the clock is looked at in each call where
# calls are slow, and in each 64th where they are fast.

const turn_ns = 5_000_000
const longest_stride = 64
const CLOCK_MONOTONIC_COARSE = 6

@inline function coarse_ns()
    now = Ref((Int64(0), Int64(0)))
    ccall(:clock_gettime, Cint, (Cint, Ref{NTuple{2,Int64}}), CLOCK_MONOTONIC_COARSE, now)
    return now[][1] * 1_000_000_000 + now[][2]
end

# What each fast verb begins with: its one safepoint, and what may throw.
@inline function begin_verb(h::Handle, timeout)
    GC.safepoint()
    check_seconds(timeout)
    let_others_run(h)
    return
end

@inline function let_others_run(h::Handle)
    h.turns -= 1
    h.turns > 0 || look_at_clock(h)
    return
end

@noinline function look_at_clock(h::Handle)
    now = coarse_ns()
    h.stride = h.turns = now == h.tick_ns ? min(2 * h.stride, longest_stride) : 1
    now == h.tick_ns && return
    h.tick_ns = now
    was_used(h)
    now - h.ran_ns < turn_ns && return
    h.ran_ns = now
    try
        # Not interrupted within: that would leave a task that runs in the queue of those that are to run. The first one
        # sees what has come, the second runs who has waited for it.
        uninterrupted(() -> (yield(); yield()))
    catch e
        e isa InterruptException && passed_on(e, h) || rethrow()
    end
    return
end

# ---- Ctrl-C in a task in the background ----

# Julia throws Ctrl-C into the task that ran last, which is often one that receives, and not the one that the user waits for.
# If a verb can tell which that is, it gets it, and the verb goes on. Otherwise it is said who got it.
function passed_on(e::InterruptException, h::Handle)
    task = foreground_task()
    task === current_task() && return false
    if task === nothing || istaskdone(task)
        @warn "Ctrl-C came out of a call on $(h.url), in a task in the background"
        return false
    end
    schedule(task, e; error=true)
    return true
end

# The task that the user waits for: the one that runs what was typed at the prompt, or without a prompt the one that loaded
# the package.
function foreground_task()
    backend = isdefined(Base, :active_repl_backend) ? Base.active_repl_backend : nothing
    backend === nothing && return loader[]
    return backend.in_eval ? backend.backend_task : nothing
end
const loader = Ref{Union{Nothing,Task}}(nothing)
