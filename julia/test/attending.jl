# Handles that nobody calls: the package lets the library look at what comes.
isdefined(@__MODULE__, :held) || include("support.jl")

# What this user's list says of the handle of that process on that channel.
listed(url, pid) = first(c for c in LibIPC.channels() if c.url == url && c.pid == pid)

# How often that process has slept.
sleeps(pid) = parse(Int, match(r"\nvoluntary_ctxt_switches:\s*(\d+)", read("/proc/$pid/status", String))[1])

test("a sender that sits at a prompt serves a receiver that comes later") do url
    with_julia("""
        s = Sender("$url")
        foreach(i -> put!(s, i), 1:3)
        say("sent")
        readline()
        close(s)
        """) do julia
        expect(julia, "sent")
        Receiver(url) do r
            @test [recv(r, Int; timeout=patience) for _ in 1:3] == 1:3
        end
        println(julia, "end")
    end
end

test("a receiver that sits at a prompt takes in senders without end, one after another") do url
    Receiver(url) do r
        for i in 1:70
            Sender(s -> send(s, i; timeout=patience), url)
        end
        @test [recv(r, Int; timeout=patience) for _ in 1:70] == 1:70
    end
end

test("the list tells who is connected to a handle that sits at a prompt") do url
    with_julia("""
        r = Receiver("$url")
        say("open")
        readline()
        close(r)
        """) do julia
        expect(julia, "open")
        for _ in 1:2
            Sender(url) do s
                put!(s, "x")
                @test eventually(() -> any(l -> l.pid == getpid() && l.state === :up, listed(url, getpid(julia)).links))
            end
            @test eventually(() -> !any(l -> l.pid == getpid() && l.state === :up, listed(url, getpid(julia)).links))
        end
        println(julia, "end")
    end
end

test("handles that sit at a prompt cost nothing, also with messages that nobody receives") do url
    with_julia("""
        r, unread, s = Receiver("$url"), Receiver("$url.unread"), Sender("$url.alone")
        put!(s, "nobody is there")
        say("open")
        while readline() == "look"
            say(LibIPC.stats(unread).links)
        end
        foreach(close, (r, unread, s))
        """) do julia
        expect(julia, "open")
        Sender(url) do s
            Sender("$url.unread") do unread
                foreach(i -> put!(unread, i), 1:10)
                println(julia, "look")
                expect(julia, "1")
                settled() = (before = sleeps(getpid(julia)); sleep(0.5); sleeps(getpid(julia)) == before)
                @test eventually(settled)
                foreach(i -> put!(unread, i), 1:10)
                @test eventually(settled)
                println(julia, "end")
            end
        end
    end
end

test("a handle that is used, closed and opened again at each moment is served and gets no error") do url
    for i in 1:30
        Receiver(url) do r
            Sender(url) do s
                for n in 1:20
                    send(s, n)
                    sleep(0.001 * (n % 3))
                    @assert recv(r, Int; timeout=patience) == n
                end
            end
        end
    end
    @test isempty(LibIPC.Internals.open_handles())
end
