# A thread of its own for a receiver: the lowest latency, whatever the other threads do, and Ctrl-C never comes there, as it
# comes to the first thread only. `close(receiver)` ends it.
#   julia -t 2 --project=PATH/julia PATH/julia/examples/own_thread.jl
using LibIPC

# Runs f() on the second thread, where it stays. (Threads.@spawn may take any, also the first.)
function on_second_thread(f)
    Threads.nthreads() > 1 || error("there is one thread only: start Julia with `-t 2`")
    task = Task(f)
    task.sticky = true
    ccall(:jl_set_task_tid, Cvoid, (Any, Cint), task, 1)
    return schedule(task)
end

const url = "shm://own_thread.$(getpid())"
const came = Threads.Atomic{Int}(0)

function receive(r)
    try
        while true
            m = recv_blocking(r)
            Threads.atomic_add!(came, m.tag % Int)
        end
    catch e
        e isa InvalidStateException || rethrow()  # closed
    end
end

receiver = Receiver(url)
receiving = on_second_thread(() -> receive(receiver))

Sender(url) do s
    foreach(_ -> send(s, "x"; tag=1), 1:1000)
    while came[] < 1000  # computes, and lets no other task of this thread run
        GC.safepoint()
    end
end
println(came[], " messages came while the first thread computed")
close(receiver)
wait(receiving)
