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

# What each verb begins with: what may throw, and the one safepoint of a fast one.
@inline function begin_verb(h::Handle, timeout)
    check_seconds(timeout)
    let_others_run(h)
    return
end

@inline function let_others_run(h::Handle)
    turns = h.turns
    turns.left -= 1
    turns.left > 0 || look_at_clock(h)
    return
end

@noinline function look_at_clock(h::Handle)
    unless_meant_for_another(GC.safepoint)
    turns = h.turns
    now = coarse_ns()
    turns.stride = turns.left = now == turns.tick_ns ? min(2 * turns.stride, longest_stride) : 1
    now == turns.tick_ns && return
    turns.tick_ns = now
    was_used(h)
    note_user(h)
    now - turns.ran_ns < turn_ns && return
    turns.ran_ns = now
    # Not interrupted within: that would leave a task that runs in the queue of those that are to run. The first one sees
    # what has come, the second runs who has waited for it.
    unless_meant_for_another(() -> uninterrupted(() -> (yield(); yield())))
    return
end

# ---- Ctrl-C in a task in the background ----

# Julia throws Ctrl-C into the task that ran last, which is often one that receives, and not the one that the user waits for.
# A verb hands it over to that one, and goes on. Where it can't, or where it is thrown between two verbs, it ends the task:
# then that is said, soon or when the handle is used next.

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

# A task that fails says nothing by itself, nor does Julia unless somebody waits for it. Weak: a task may be all that keeps
# the Receiver.
@inline note_user(h::Handle) = h.turns.user.value === current_task() ? nothing : change_user(h)
@noinline function change_user(h::Handle)
    tell_if_user_was_ended(h)
    h.turns.user = WeakRef(current_task())
    return
end

# Also by the event loop, so without a switch of tasks.
function tell_if_user_was_ended(h::Handle)
    task = h.turns.user.value
    task isa Task && istaskdone(task) || return
    h.turns.user = no_user
    istaskfailed(task) && task.exception isa InterruptException &&
        say_at_once("Ctrl-C has ended a task in the background that used $(h.url)")
    return
end
