# A thread of its own that blocks in the library; here the tests run in other Julias, which have two threads.
isdefined(@__MODULE__, :held) || include("support.jl")

# As with_julia, on two threads; `on_two(f)` runs f on the second and returns its task.
with_threads(f, code) = with_julia(f, """
    using Base.Threads
    function on_two(f)
        task = Task(f)
        task.sticky = true
        ccall(:jl_set_task_tid, Cvoid, (Any, Cint), task, 1)
        schedule(task)
        return task
    end
    @assert nthreads() == 2
    """ * code; options=`-t 2`)

test("garbage is collected while a thread is blocked, and the thread wakes for a message") do url
    with_threads("""
        r, s = Receiver("$url"), Sender("$url")
        blocked = on_two(() -> (threadid(), recv_blocking(r; timeout=patience).tag))
        while LibIPC.stats(r).waits == 0 sleep(0.001) end
        foreach(_ -> GC.gc(), 1:3)
        say("collected")
        send(s, "x"; tag=7)
        say(fetch(blocked))
        close(s); close(r)
        """) do julia
        expect(julia, "collected")
        expect(julia, "(2, 0x0000000000000007)")
    end
end

test("close ends a blocked thread with InvalidStateException") do url
    with_threads("""
        r = Receiver("$url")
        blocked = on_two(() -> try recv_blocking(r) catch e; e end)
        while LibIPC.stats(r).waits == 0 sleep(0.001) end
        close(r)
        e = fetch(blocked)
        say((e isa InvalidStateException, e.state))
        """) do julia
        expect(julia, "(true, :closed)")
    end
end

test("interrupt ends a blocked thread with InterruptException, once") do url
    with_threads("""
        r, s = Receiver("$url"), Sender("$url")
        blocked = on_two(() -> try recv_blocking(r) catch e; e end)
        while LibIPC.stats(r).waits == 0 sleep(0.001) end
        LibIPC.interrupt(r)
        say(fetch(blocked) isa InterruptException)
        send(s, "after")
        say(String(recv_blocking(r)))
        close(s); close(r)
        """) do julia
        expect(julia, "true")
        expect(julia, "after")
    end
end

test("a blocked thread answers stats and goes on waiting") do url
    with_threads("""
        r, s = Receiver("$url"), Sender("$url")
        blocked = on_two(() -> String(recv_blocking(r)))
        for _ in 1:20
            LibIPC.stats(r)
            LibIPC.links(r)
        end
        say(istaskdone(blocked))
        send(s, "x")
        say(fetch(blocked))
        close(s); close(r)
        """) do julia
        expect(julia, "false")
        expect(julia, "x")
    end
end

test("one thread sends and another receives at full speed, while a third task asks for stats and collects garbage") do url
    with_threads("""
        r, s = Receiver("$url"), Sender("$url")
        n = 200_000
        function receive_all(r)
            next = 1
            for m in eachmessage(r; until=:end)
                m.tag == next == m.sequence || error("message \$(m.tag) where \$next was due")
                next += 1
            end
            return next - 1
        end
        received = on_two(() -> receive_all(r))
        for i in 1:n
            send(s, i; tag=i)
            if i % 20_000 == 0
                LibIPC.stats(r); LibIPC.stats(s); LibIPC.links(r)
                GC.gc(false)
            end
        end
        close(s; linger=patience)
        say(fetch(received))
        close(r)
        """) do julia
        expect(julia, "200000")
    end
end

test("take! and put! are for tasks on several threads") do url
    with_threads("""
        r, s = Receiver("$url"), Sender("$url"; capacity=65536)
        n = 2000
        putter = on_two(() -> foreach(i -> put!(s, i), 1:n))
        takers = [(k == 1 ? on_two : f -> schedule(Task(f)))(() -> [only(reinterpret(Int, take!(r))) for _ in 1:n÷2]) for k in 1:2]
        say(sort(vcat(map(fetch, takers)...)) == 1:n)
        wait(putter)
        close(s); close(r)
        """) do julia
        expect(julia, "true")
    end
end

test("a second thread in the fast form gets ConcurrencyError") do url
    with_threads("""
        r = Receiver("$url")
        blocked = on_two(() -> try recv_blocking(r) catch e; e end)
        while LibIPC.stats(r).waits == 0 sleep(0.001) end
        errors = map((() -> recv(r), () -> take!(r), () -> recv_blocking(r))) do verb
            try verb() catch e; e isa LibIPC.ConcurrencyError end
        end
        say(errors)
        close(r)
        say(fetch(blocked) isa InvalidStateException)
        """) do julia
        expect(julia, "(true, true, true)")
        expect(julia, "true")
    end
end

test("held messages are worked on by other threads, and released by the one that receives") do url
    with_threads("""
        r, s = Receiver("$url"), Sender("$url")
        work, done = Channel{Message}(16), Channel{Tuple{Message,Int}}(16)
        worker = on_two(() -> foreach(m -> put!(done, (m, sum(reinterpret(Int, m)))), work))
        total = 0
        for round in 1:50
            foreach(i -> send(s, fill(i, 100)), 1:10)
            foreach(_ -> put!(work, hold(recv(r))), 1:10)
            for _ in 1:10
                m, part = take!(done)
                global total += part
                release(m)
            end
        end
        close(work)
        say((total, LibIPC.stats(r).held))
        close(s); close(r)
        """) do julia
        expect(julia, "(275000, 0)")
    end
end
