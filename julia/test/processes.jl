# A C++ process on the other side.
isdefined(@__MODULE__, :held) || include("support.jl")

test("what a C++ process sends arrives, and then its end") do url
    count, size = 5000, 1000
    events = []
    Receiver(url; onevent=(kind, sender) -> push!(events, kind)) do r
        run(program("counterpart", "send", url, count, size); wait=false)
        next = 1
        for m in eachmessage(r; until=:end)
            @assert m.tag == m.sequence == next && m == proof(next, size)
            next += 1
        end
        @test next == count + 1
        @test events == [:end]
        @test LibIPC.stats(r).messages == count
    end
end

test("messages that are larger than the ring come from a C++ process, and go to one") do url
    size = 5_000_000
    Receiver(url) do r
        run(program("counterpart", "send", url, 3, size); wait=false)
        for tag in 1:3
            m = recv(r; timeout=patience)
            @test m.tag == tag && length(m) == size && m == proof(tag, size)
        end
    end
    checker = open(program("counterpart", "check", url, 3))
    expect(checker, "ready")
    Sender(url) do s
        for tag in 1:3
            send(s, proof(tag, size); tag=tag, timeout=patience)
        end
        flush(s; timeout=patience)
    end
    wait(checker)
    @test success(checker)
end

test("what is sent to a C++ process arrives, and then the end") do url
    count = 5000
    checker = open(program("counterpart", "check", url, count))
    expect(checker, "ready")
    Sender(url) do s
        for tag in 1:count
            send(s, proof(tag, tag % 300); tag=tag, timeout=patience)
        end
    end
    wait(checker)
    @test success(checker)
end

test("a death is told apart from an end") do url
    events = []
    Receiver(url; onevent=(kind, sender) -> push!(events, kind)) do r
        dying = run(program("counterpart", "die", url, 3, 8); wait=false)
        got = 0
        e = try
            for m in eachmessage(r; until=:end)
                got += 1
            end
        catch e
            e
        end
        @test got == 3
        @test e isa SenderDied && e.sender != 0 && e.url == url
        @test events == [:died]
        @test LibIPC.stats(r).deaths == 1
        wait(dying)
    end
    sweep(url)
end

test("a receiver goes on when senders end and die, until it is closed") do url
    events = []
    r = Receiver(url; onevent=(kind, sender) -> push!(events, kind))
    waiting = @async [length(bytes) for bytes in r]
    for (role, size) in (("send", 1), ("die", 2), ("send", 3))
        before = length(events)
        wait(run(program("counterpart", role, url, 2, size); wait=false))
        @test eventually(() -> length(events) > before)
    end
    close(r)
    @test result(waiting) == [1, 1, 2, 2, 3, 3]
    @test events == [:end, :died, :end]
    sweep(url)
end

test("the loop goes on until the last of several senders has ended") do url
    Receiver(url) do r
        first, second = Sender(url), Sender(url)
        send(first, "a")
        counted = @async count(m -> true, eachmessage(r; until=:end))
        @test eventually(() -> LibIPC.stats(r).messages == 1)
        close(first)
        @test eventually(() -> LibIPC.stats(r).ends == 1)
        @test !istaskdone(counted)
        send(second, "b")
        close(second)
        @test result(counted) == 2
    end
end

test("bytes go to a C++ process and come back unchanged") do url
    echo = open(program("counterpart", "echo", "$url.in", "$url.out"))
    expect(echo, "ready")
    Receiver("$url.out") do r
        Sender("$url.in") do s
            for size in (0, 1, 63, 64, 65, 1000, 100_000)
                bytes = rand(UInt8, size)
                send(s, bytes; tag=size, timeout=patience)
                m = recv(r; timeout=patience)
                @test m.tag == size && m == bytes
                release(m)  # its sender's close waits for the last one
            end
        end
        wait(echo)
        @test success(echo)
    end
end

test("the next receiver gets what the last one had not released, marked") do url
    Sender(url) do s
        first = Receiver(url)
        foreach(i -> send(s, [i]), 1:3)
        kept = hold(recv(first))
        @test close(first) == 1
        @test only(reinterpret(Int, kept)) == 1
        release(kept)
        Receiver(url) do second
            rest = [(only(reinterpret(Int, m)), m.redelivered) for m in (recv(second; timeout=patience) for _ in 1:2)]
            @test rest == [(2, false), (3, false)]
        end
    end
end
