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

# What each fast verb begins with: what may throw, and its one safepoint.
@inline function begin_verb(h::Handle, timeout)
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
    unless_meant_for_another(GC.safepoint)
    now = coarse_ns()
    h.stride = h.turns = now == h.tick_ns ? min(2 * h.stride, longest_stride) : 1
    now == h.tick_ns && return
    h.tick_ns = now
    was_used(h)
    h.user === current_task() || look_after_user(h)
    now - h.ran_ns < turn_ns && return
    h.ran_ns = now
    # Not interrupted within: that would leave a task that runs in the queue of those that are to run. The first one sees
    # what has come, the second runs who has waited for it.
    unless_meant_for_another(() -> uninterrupted(() -> (yield(); yield())))
    return
end

# ---- Ctrl-C in a task in the background ----

# Julia throws Ctrl-C into the task that ran last, which is often one that receives, and not the one that the user waits for.
# A verb hands it over to that one, and goes on. Where it can't, or where it is thrown between two verbs, it ends the task:
# then that is said.

# Calls f(), which does nothing but let Ctrl-C in.
@inline function unless_meant_for_another(f::F) where {F}
    try
        f()
    catch e
        e isa InterruptException && hand_over(e) || rethrow()
    end
    return
end

# False if it is for this task, or nobody knows for whom.
function hand_over(e::InterruptException)
    task = foreground_task()
    (task === nothing || task === current_task() || istaskdone(task)) && return false
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

# A task that fails by itself says nothing.
@noinline function look_after_user(h::Handle)
    task = h.user = current_task()
    task === foreground_task() && return
    lock(looked_after_lock)
    fresh = !haskey(looked_after, task)
    fresh && (looked_after[task] = nothing)
    unlock(looked_after_lock)
    fresh && look_after(task, h.url)
    return
end
const looked_after = IdDict{Task,Nothing}()
const looked_after_lock = Threads.SpinLock()

look_after(task::Task, url::String) = @async begin
    Base._wait(task)
    lock(looked_after_lock)
    delete!(looked_after, task)
    unlock(looked_after_lock)
    istaskfailed(task) && task.exception isa InterruptException &&
        @warn "Ctrl-C has ended a task in the background that used $url"
end
