# A Receiver beside a Channel: each verb of Base that a Channel has does the same on a Receiver, or says why it does not.
isdefined(@__MODULE__, :held) || include("support.jl")

# Runs f(channel, put) on a Channel and on a Receiver, and returns both results, exceptions included.
function on_both(f, url)
    attempt(x, put) = try f(x, put) catch e; e end
    c = Channel{Vector{UInt8}}(10)
    of_channel = attempt(c, text -> put!(c, Vector{UInt8}(text)))
    isopen(c) && close(c)
    s, r = Sender(url), Receiver(url)
    of_receiver = attempt(r, text -> put!(s, text))
    close(r)
    close(s)
    return of_channel, of_receiver
end

bytes(text) = Vector{UInt8}(text)

# (what it does, the call, what both give)
const verbs = [
    ("take! takes the oldest", (c, put) -> (put("a"); put("b"); (take!(c), take!(c))), (bytes("a"), bytes("b"))),
    ("take! gives a Vector{UInt8}", (c, put) -> (put("a"); typeof(take!(c))), Vector{UInt8}),
    ("what take! gives is the caller's own", (c, put) -> (put("a"); put("b"); v = take!(c); take!(c); v[1] = 0x63; v),
     bytes("c")),
    ("popfirst! is take!", (c, put) -> (put("a"); popfirst!(c)), bytes("a")),
    ("fetch leaves it", (c, put) -> (put("a"); (fetch(c), fetch(c), take!(c))), (bytes("a"), bytes("a"), bytes("a"))),
    ("isready", (c, put) -> (before = isready(c); put("a"); (before, isready(c), take!(c), isready(c))),
     (false, true, bytes("a"), false)),
    ("isempty takes nothing", (c, put) -> (before = isempty(c); put("a"); (before, isempty(c), take!(c), isempty(c))),
     (true, false, bytes("a"), true)),
    ("wait leaves it", (c, put) -> (put("a"); (wait(c), take!(c))), (nothing, bytes("a"))),
    ("isopen", (c, put) -> (before = isopen(c); close(c); (before, isopen(c))), (true, false)),
    ("iteration", (c, put) -> begin
         put("a"); put("b")
         seen = []
         for v in c
             push!(seen, v)
             length(seen) == 2 && close(c)
         end
         seen
     end, [bytes("a"), bytes("b")]),
    ("iterate", (c, put) -> (put("a"); iterate(c)), (bytes("a"), nothing)),
    ("iterate when closed", (c, put) -> (close(c); iterate(c)), nothing),
    ("collect", (c, put) -> (put("a"); put("b"); task = @async collect(c); quiet(c); close(c); result(task)),
     [bytes("a"), bytes("b")]),
    ("first", (c, put) -> (put("a"); first(c)), bytes("a")),
    ("Iterators.take", (c, put) -> (foreach(put, ("a", "b", "c")); collect(Iterators.take(c, 2))), [bytes("a"), bytes("b")]),
    ("foreach", (c, put) -> begin
         put("a")
         seen = []
         foreach(v -> (push!(seen, v); close(c)), c)
         seen
     end, [bytes("a")]),
    ("eltype", (c, put) -> eltype(c), Vector{UInt8}),
    ("IteratorSize", (c, put) -> Base.IteratorSize(c), Base.SizeUnknown()),
    ("a vector of them", (c, put) -> isopen.([c, c]), [true, true]),
    ("close returns, also the second time", (c, put) -> (close(c); close(c); isopen(c)), false),
    ("take! when closed", (c, put) -> (close(c); take!(c)), InvalidStateException),
    ("fetch when closed", (c, put) -> (close(c); fetch(c)), InvalidStateException),
    ("wait when closed", (c, put) -> (close(c); wait(c)), InvalidStateException),
    ("isready when closed", (c, put) -> (close(c); isready(c)), false),
    ("isempty when closed", (c, put) -> (close(c); isempty(c)), true),
    ("take! when closed with an exception", (c, put) -> (close(c, ErrorException("why")); take!(c)), ErrorException),
    ("a waiting take! when closed with an exception",
     (c, put) -> (task = @async(take!(c)); yield(); close(c, ErrorException("why")); failure(task)), ErrorException),
    ("bind closes it when the task ends",
     (c, put) -> (task = @async(nothing); bind(c, task); eventually(() -> !isopen(c))), true),
    ("bind tells of the task's failure",
     (c, put) -> (task = @async(error("why")); bind(c, task); eventually(() -> !isopen(c)); take!(c)), TaskFailedException),
    ("an equal task sees it", (c, put) -> c == c, true),
    ("it is a key", (c, put) -> Dict(c => 1)[c], 1),
]

# Until everything put is taken by whoever iterates.
quiet(c::Channel) = eventually(() -> isempty(c))
quiet(r::Receiver) = eventually(() -> LibIPC.stats(r).messages == 2)

for (what, f, expected) in verbs
    test(what) do url
        of_channel, of_receiver = on_both(f, url)
        if expected isa Type && expected <: Exception
            @test of_channel isa expected
            @test of_receiver isa expected
            of_channel isa InvalidStateException && @test of_channel.state == of_receiver.state
        else
            @test of_channel == expected
            @test of_receiver == expected
        end
    end
end

test("put! and push! return what was put, as on a Channel") do url
    Receiver(url) do r
        Sender(url) do s
            @test put!(s, "abc") == "abc"
            @test push!(s, "d") == "d"
            @test [String(take!(r)) for _ in 1:2] == ["abc", "d"]
        end
    end
end

test("broadcasting takes a handle as one thing, where it would collect a Channel") do url
    Receiver(url) do r
        Sender(url) do s
            put!.(s, ["a", "b"])
            @test String.(take!.([r, r])) == ["a", "b"]
            @test ((x, n) -> isopen(x)).(r, 1:2) == [true, true]
        end
    end
end

test("what makes no sense says so") do url
    Receiver(url) do r
        Sender(url) do s
            for verb in (() -> put!(r, "x"), () -> push!(r, "x"), () -> take!(s), () -> fetch(s), () -> wait(s),
                         () -> isready(s), () -> popfirst!(s), () -> collect(s))
                e = try verb() catch e; e end
                @test e isa ArgumentError
                @test occursin("open ", e.msg)
            end
        end
    end
end

test("every verb on a closed sender throws InvalidStateException") do url
    s = Sender(url)
    @test close(s) == 0
    @test close(s) == 0
    @test !isopen(s)
    for verb in (() -> put!(s, "x"), () -> send(s, "x"), () -> send(s, 1), () -> send(identity, s, 1), () -> flush(s),
                 () -> LibIPC.stats(s), () -> LibIPC.links(s))
        @test_throws InvalidStateException verb()
    end
    @test occursin("closed", sprint(show, s))
end

test("every verb on a closed receiver throws InvalidStateException") do url
    r = Receiver(url)
    close(r)
    for verb in (() -> recv(r), () -> recv(length, r), () -> recv(r, Int), () -> recv!(UInt8[], r), () -> recv_blocking(r),
                 () -> LibIPC.stats(r), () -> LibIPC.links(r), () -> LibIPC.interrupt(r))
        @test_throws InvalidStateException verb()
    end
    @test iterate(eachmessage(r)) === nothing
    @test_throws InvalidStateException iterate(eachmessage(r; until=:end))
    @test occursin("closed", sprint(show, r))
end

test("a channel that is open in this process already is warned of") do url
    @test_logs Receiver(close, url)
    Receiver(url) do r
        @test_logs (:warn, r"another receiver on shm://") Receiver(close, url)
        Sender(url) do s
            @test_logs (:warn, r"another sender on shm://") Sender(close, url)
        end
        @test_logs Sender(close, url)
    end
end

test("a receiver shows its URL, its senders and its messages") do url
    Receiver(url) do r
        @test sprint(show, r) == "Receiver(\"$url\", 0 senders, 0 messages)"
        Sender(url) do s
            put!(s, "x")
            take!(r)
            @test sprint(show, r) == "Receiver(\"$url\", 1 sender, 1 message)"
            @test sprint(show, s) == "Sender(\"$url\", 1 receiver, 1 message)"
        end
    end
end

test("a URL or an option that does not do is refused in words") do url
    for (call, words) in ((() -> Receiver("shm://"), "cannot open a receiver"),
                          (() -> Sender("shm://.dot"), "cannot open a sender"),
                          (() -> Receiver("carrier-pigeon://x"), "carrier-pigeon"),
                          (() -> Receiver("$url?overflow=drop-oldest"), "overflow"),
                          (() -> Sender(url; capacity=1), "capacity"))
        e = try call() catch e; e end
        @test e isa LibIPC.IPCError && e.code < 0
        @test occursin(words, sprint(showerror, e))
    end
    @test_throws ArgumentError Receiver(url; from=:middle)
    @test_throws ArgumentError Receiver("shm://a\0b")
    Receiver(url) do r
        @test_throws ArgumentError eachmessage(r; until=:noon)
    end
end

test("from=:latest passes over what waits, from=:oldest takes it") do url
    Sender(url) do s
        put!(s, "old")
        Receiver(url; from=:latest) do r
            @test !isready(r)
            put!(s, "new")
            @test String(take!(r)) == "new"
            @test LibIPC.stats(r).skipped == 1
        end
    end
    Sender(url) do s
        put!(s, "old")
        Receiver(url; from=:oldest) do r
            @test String(take!(r)) == "old"
        end
    end
end
