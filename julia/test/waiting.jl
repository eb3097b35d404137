# Waiting: other tasks run, time-outs, several that wait, closing.
isdefined(@__MODULE__, :held) || include("support.jl")

test("other tasks run while one waits in take!, recv, wait, put!, send and flush") do url
    Receiver(url) do r
        Sender(url; capacity=65536) do s
            for verb in (() -> take!(r), () -> recv(r), () -> wait(r), () -> fetch(r))
                waiting = @async verb()
                ran = false
                @async ran = true
                @test eventually(() -> ran)
                @test !istaskdone(waiting)
                put!(s, "x")
                result(waiting)
                while isready(r)
                    take!(r)
                end
            end
            for verb in (() -> put!(s, zeros(UInt8, 30_000)), () -> send(s, zeros(UInt8, 30_000)), () -> flush(s))
                waiting = @async foreach(_ -> verb(), 1:5)
                @test eventually(() -> LibIPC.stats(s).unreleased > 0) && !istaskdone(waiting)
                while !istaskdone(waiting)
                    isready(r) ? take!(r) : sleep(0.001)
                end
                result(waiting)
                while isready(r)
                    take!(r)
                end
                put!(s, "for flush to wait")
            end
            take!(r)
        end
    end
end

test("a time-out passes, and says who was in the way") do url
    Receiver(url) do r
        for verb in (() -> recv(r; timeout=0.05), () -> recv(length, r; timeout=0.05),
                     () -> recv(r, String; timeout=0.05), () -> recv!(zeros(UInt8, 8), r; timeout=0.05),
                     () -> recv_blocking(r; timeout=0.05), () -> recv(r; timeout=0))
            e = try verb() catch e; e end
            @test e isa TimeoutError
            @test occursin(url, e.words) && occursin("no sender is connected", e.words) && occursin(folder, e.words)
        end
        Sender(url; capacity=65536) do s
            e = try recv(r; timeout=0.01) catch e; e end
            @test occursin("one sender is connected", e.words)
            e = try foreach(_ -> send(s, zeros(UInt8, 30_000); timeout=0.05), 1:5) catch e; e end
            @test e isa TimeoutError
            @test occursin("process $(getpid())", e.words)
            @test sprint(showerror, e) == "TimeoutError: " * e.words
            @test_throws TimeoutError flush(s; timeout=0.05)
            @test_throws TimeoutError send(identity, s, 30_000; timeout=0.05)
            @test String(take!(r)) == String(zeros(UInt8, 30_000))
        end
    end
end

test("a time-out names the runtime folder in which the handle looks, whatever IPC_DIR says by then") do url
    words(x) = (try x isa Sender ? flush(x; timeout=0) : recv(x; timeout=0) catch e; e end).words
    Receiver(url) do r
        without_descriptors = with_limit(() -> words(r), nofile, lowest_free_descriptor())
        @test endswith(without_descriptors, "no sender is connected")
        withenv("IPC_DIR" => folder) do
            @test endswith(words(r), " (the runtime folder is $folder/ipc)")
        end
    end
    Sender("$url.alone") do s
        put!(s, "x")
        withenv("IPC_DIR" => folder) do
            @test endswith(words(s), " (the runtime folder is $folder/ipc)")
        end
        Receiver(take!, "$url.alone")
    end
end

test("a time-out that is none is refused by every verb, also where it need not wait") do url
    Receiver(url) do r
        Sender(url) do s
            for timeout in (-1, -0.001, NaN), there in (true, false)
                there && send(s, 1)
                for verb in (() -> recv(r; timeout=timeout), () -> recv(length, r; timeout=timeout),
                             () -> recv(r, Int; timeout=timeout), () -> recv(r, String; timeout=timeout),
                             () -> recv!(zeros(UInt8, 8), r; timeout=timeout), () -> recv_blocking(r; timeout=timeout),
                             () -> send(s, 1; timeout=timeout), () -> send(s, "x"; timeout=timeout),
                             () -> send(s, [1]; timeout=timeout), () -> send(identity, s, 8; timeout=timeout),
                             () -> flush(s; timeout=timeout), () -> close(s; linger=timeout))
                    e = try verb() catch e; e end
                    @test e isa ArgumentError && occursin("$timeout", e.msg) && occursin("give 0", e.msg)
                end
                there && @test recv(r, Int) == 1
            end
        end
    end
end

test("tasks that wait with time-outs of their own end in time, each") do url
    Receiver(url) do r
        Sender(url) do s
            put!(s, "not taken")
            began = time()
            ended = [@async (try flush(s; timeout=t) catch e; e isa TimeoutError && time() - began end) for t in (0.3, 0.1, 0.2)]
            @test 0.1 <= result(ended[2]) <= result(ended[3]) <= result(ended[1])
            @test result(ended[1]) >= 0.3
            put!(s, "y")
            e = failure(@async flush(s; timeout=0.01))
            @test e isa TimeoutError
        end
    end
end

test("a message in time is not held up by the time-out") do url
    Receiver(url) do r
        Sender(url) do s
            waiting = @async recv(r, String; timeout=patience)
            @test waits(r)
            put!(s, "in time")
            @test result(waiting) == "in time"
        end
    end
end

test("time-outs leave nothing behind") do url
    Receiver(url) do r
        expire() = @test_throws TimeoutError recv(r; timeout=0.001)
        expire()
        before = held()
        for _ in 1:200
            expire()
        end
        @test held() == before
        @test LibIPC.stats(r).held == 0
        @test r.handle.waits.tasks == 0 && r.handle.gate == LibIPC.Internals.session.number
        @test r.watch.due_ns == typemax(Int64)
    end
end

test("several tasks wait in take!, and each message goes to one of them") do url
    Receiver(url) do r
        Sender(url) do s
            takers = [@async String(take!(r)) for _ in 1:5]
            @test waits(r, 5)
            foreach(i -> put!(s, string(i)), 1:5)
            @test sort(map(result, takers)) == string.(1:5)
        end
    end
end

test("several tasks put!, and every message arrives whole") do url
    Receiver(url) do r
        Sender(url; capacity=65536) do s
            putters = [@async foreach(n -> put!(s, fill(UInt8(i), 5000)), 1:50) for i in 1:4]
            counts = zeros(Int, 4)
            for _ in 1:200
                bytes = recv(r, Vector{UInt8}; timeout=patience)
                @assert length(bytes) == 5000 && all(==(bytes[1]), bytes)
                counts[bytes[1]] += 1
            end
            foreach(result, putters)
            @test counts == fill(50, 4)
        end
    end
end

test("isready, stats and links answer while another task waits") do url
    Receiver(url) do r
        waiting = @async recv(r, String)
        @test waits(r)
        @test LibIPC.stats(r).messages == 0
        @test isempty(LibIPC.links(r))
        @test occursin(url, sprint(show, r))
        Sender(url) do s
            put!(s, "still awake")
            @test result(waiting) == "still awake"
        end
    end
end

test("close from another task ends every wait with InvalidStateException") do url
    for verb in (take!, recv, wait, fetch, r -> recv(r, String), r -> recv(length, r), r -> recv(r; timeout=patience),
                 r -> recv!(zeros(UInt8, 8), r))
        r = Receiver(url)
        tasks = verb in (take!, wait, fetch) ? 3 : 1
        waiting = [@async verb(r) for _ in 1:tasks]
        @test waits(r, tasks)
        @test close(r) == 0
        for task in waiting
            e = failure(task)
            @test e isa InvalidStateException && e.state === :closed
        end
    end
    for verb in (s -> put!(s, zeros(UInt8, 30_000)), s -> send(s, zeros(UInt8, 30_000)), flush)
        s = Sender(url; capacity=65536)
        waiting = @async foreach(_ -> verb(s), 1:5)
        put!(s, zeros(UInt8, 1000))
        @test eventually(() -> s.handle.waits.tasks > 0)
        @test close(s) > 0
        @test failure(waiting) isa InvalidStateException
    end
end

test("loops end when another task closes the receiver") do url
    for loop in (r -> [String(m) for m in r], r -> [String(m) for m in eachmessage(r)])
        Sender(url) do s
            r = Receiver(url)
            waiting = @async loop(r)
            put!(s, "one")
            put!(s, "two")
            @test eventually(() -> LibIPC.stats(s).unreleased == 0)
            close(r)
            @test result(waiting) == ["one", "two"]
        end
    end
end

test("a second task in the fast form gets ConcurrencyError, and the first goes on") do url
    Receiver(url) do r
        Sender(url; capacity=65536) do s
            first = @async recv(r, String)
            @test waits(r)
            for verb in (() -> recv(r), () -> take!(r), () -> recv(r; timeout=1), () -> first_of(eachmessage(r)))
                @test failure(@async verb()) isa LibIPC.ConcurrencyError
            end
            put!(s, "first")
            @test result(first) == "first"

            first = @async take!(r)
            @test waits(r)
            @test failure(@async recv(r)) isa LibIPC.ConcurrencyError
            put!(s, "second")
            @test String(result(first)) == "second"

            first = @async foreach(_ -> send(s, zeros(UInt8, 30_000)), 1:3)
            @test eventually(() -> s.handle.waits.tasks > 0)
            @test failure(@async put!(s, "x")) isa LibIPC.ConcurrencyError
            @test failure(@async send(s, "x")) isa LibIPC.ConcurrencyError
            foreach(_ -> take!(r), 1:3)
            result(first)
            @test occursin("one task at a time", sprint(showerror, LibIPC.ConcurrencyError(url)))
        end
    end
end

test("isready, isempty, fetch, wait and a time-out leave the view alone that recv has given") do url
    for look in (isready, isempty, fetch, wait, r -> recv(r; timeout=0), r -> recv(r; timeout=0.001),
                 r -> recv_blocking(r; timeout=0), r -> recv_blocking(r; timeout=0.001), r -> recv(r, Int; timeout=0),
                 r -> recv!(zeros(UInt8, 9), r; timeout=0)), more in (false, true)
        more || !(look in (fetch, wait)) || continue
        Receiver(url) do r
            Sender(url) do s
                send(s, "in view")
                m = recv(r; timeout=patience)
                if look in (isready, isempty, fetch, wait)
                    more && send(s, "the next")
                    look(r)
                    fetch(@async look(r))
                else
                    @test_throws TimeoutError look(r)
                    more && send(s, "the next")
                end
                @test String(m) == "in view"
                more && @test recv(r, String; timeout=patience) == "the next"
                more && @test_throws StaleMessageError m[1]
                @test LibIPC.stats(r).held == !more
            end
        end
    end
end

test("the newest of what waits is got by recv while isready") do url
    Receiver(url) do r
        Sender(url) do s
            foreach(i -> send(s, i), 1:5)
            m = recv(r; timeout=patience)
            while isready(r)
                m = recv(r)
            end
            @test only(reinterpret(Int, m)) == 5
        end
    end
end

test("a recv that waits without a time-out gives the view back before, so that the sender's flush ends") do url
    for verb in ("recv(r)", "recv_blocking(r)", "iterate(eachmessage(r))")
        with_julia("""
            r = Receiver("$url")
            say("open")
            recv(r; timeout=patience)
            say("received")
            $verb
            close(r)
            """) do julia
            expect(julia, "open")
            Sender(url) do s
                send(s, "x")
                expect(julia, "received")
                flush(s; timeout=patience)
                @test LibIPC.stats(s).unreleased == 0
                send(s, "y")
                flush(s; timeout=patience)
            end
        end
    end
end
