# Handles that nobody refers to any more.
isdefined(@__MODULE__, :held) || include("support.jl")

# Collects until the condition holds: a finalizer that could not do its work yet tries again at the next collection.
function collected(condition)
    eventually() do
        GC.gc()
        condition()
    end
end

@noinline forget_receiver(url) = (Receiver(url); nothing)
@noinline forget_sender(url, text) = (s = Sender(url); put!(s, text); nothing)
@noinline function forget_holding(url, s)
    r = Receiver(url)
    send(s, "kept")
    send(s, "not taken")
    return hold(recv(r))
end

test("a receiver that is forgotten is closed when it is collected") do url
    before = held()
    foreach(i -> forget_receiver("$url.$i"), 1:5)
    @test held() != before
    @test collected(() -> held() == before)
end

test("a sender that is forgotten is closed when it is collected: receivers get its messages and its end") do url
    events = []
    Receiver(url; onevent=(kind, sender) -> push!(events, kind)) do r
        forget_sender(url, "still there")
        @test String(take!(r)) == "still there"
        waiting = @async take!(r)
        @test collected(() -> events == [:end])
        close(r)
        @test failure(waiting) isa InvalidStateException
    end
end

test("a held message outlives its receiver, and its release frees the rest") do url
    before = held()
    Sender(url) do s
        m = forget_holding(url, s)
        @test collected(() -> LibIPC.stats(s).links == 0 || first(LibIPC.links(s)).state === :left)
        @test String(m) == "kept"
        release(m)
        @test_throws StaleMessageError release(m)
        Receiver(url) do r
            @test recv(r, String; timeout=patience) == "not taken"
        end
    end
    @test held() == before
end

test("a message that is held is good after close, until it is released") do url
    Sender(url) do s
        r = Receiver(url)
        foreach(i -> send(s, [i]), 1:3)
        kept = [hold(recv(r)) for _ in 1:3]
        @test close(r) == 3
        @test [only(reinterpret(Int, m)) for m in kept] == 1:3
        foreach(release, reverse(kept))
        @test_throws StaleMessageError kept[1][1]
    end
end

test("a view is over when its task closes the receiver") do url
    Sender(url) do s
        r = Receiver(url)
        send(s, "x")
        m = recv(r)
        @test close(r) == 0
        @test_throws StaleMessageError m[1]
    end
end

test("a view stays good when another task closes the receiver, until its own task goes on") do url
    Sender(url) do s
        r = Receiver(url)
        send(s, "x")
        go, seen = Channel{Nothing}(1), Channel{String}(2)
        reader = @async begin
            m = recv(r)
            put!(seen, String(m))
            take!(go)
            put!(seen, String(m))
            recv(r)
        end
        @test take!(seen) == "x"
        @test close(r) == 1
        put!(go, nothing)
        @test take!(seen) == "x"
        @test failure(reader) isa InvalidStateException
    end
end

test("closed handles are used again by those that are opened later") do url
    many = length(LibIPC.handles)
    for _ in 1:10
        forget_receiver(url)
        collected(() -> isempty(LibIPC.open_handles()))
    end
    @test length(LibIPC.handles) <= many + 2
end
