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
    many = length(LibIPC.Internals.handles)
    for _ in 1:10
        forget_receiver(url)
        collected(() -> isempty(LibIPC.Internals.open_handles()))
    end
    @test length(LibIPC.Internals.handles) <= many + 2
end

test("threads open, forget, close, exchange and collect at random, and nothing is lost or left") do url
    with_julia("""
        using Base.Threads, Logging, Random
        global_logger(NullLogger())
        const url = "$url"
        const seed = rand(RandomDevice(), UInt32)
        const builds = ("$(LibIPC.library())", "$(get(ENV, "LIBIPC_NEXT_BUILD", LibIPC.library()))")
        const failures = Atomic{Int}(0)
        const until = time() + 3
        name(rng) = "\$url.\$(rand(rng, 1:3))"
        @noinline forget_sender(rng) = (s = Sender(name(rng)); put!(s, 1); nothing)
        @noinline forget_receiver(rng) = (Receiver(name(rng)); nothing)
        # A message that is held by nobody but itself, when its receiver has been forgotten.
        @noinline function forget_holding(rng)
            own = "\$(name(rng)).\$(rand(rng, UInt32))"
            r, s = Receiver(own), Sender(own)
            send(s, 7)
            return hold(recv(r; timeout=patience))
        end
        function exchange(rng)
            threadid() == 1 && rand(rng) < 0.1 || return
            try LibIPC.reload!(rand(rng, builds)) catch e; e isa LibIPC.LibraryError || rethrow() end
        end
        function churn(rng)
            while time() < until
                what = rand(rng, 1:7)
                what == 1 ? forget_sender(rng) :
                what == 2 ? forget_receiver(rng) :
                what == 3 ? close(Receiver(name(rng))) :
                what == 4 ? close(Sender(name(rng))) :
                what == 5 ? (m = forget_holding(rng); GC.gc(false); only(reinterpret(Int, m)) == 7 || error("wrong"); release(m)) :
                what == 6 ? GC.gc(rand(rng, Bool)) : exchange(rng)
                yield()
            end
        end
        tasks = [Threads.@spawn(churn(MersenneTwister(seed + i))) for i in 1:4]
        for t in tasks
            try wait(t) catch; println(stderr, "seed \$seed"); rethrow() end
        end
        timedwait(() -> (GC.gc(); isempty(LibIPC.Internals.open_handles())), Float64(patience))
        say((length(LibIPC.Internals.open_handles()), count(h -> h.holders.count[] != 0 || h.views.held != 0, LibIPC.Internals.handles)))
        """; options=`-t 3`) do julia
        expect(julia, "(0, 0)")
    end
end

test("finalize is close for a handle that nobody is in, and is put off while somebody is") do url
    Receiver(url) do r
        finalize(r)
        @test !isopen(r)
        @test_throws InvalidStateException recv(r)
    end
    Receiver(url) do r
        waiting = @async take!(r)
        @test waits(r)
        finalize(r)
        @test isopen(r)
        Sender(s -> put!(s, "x"), url)
        @test String(result(waiting)) == "x"
    end
end
