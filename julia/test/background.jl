# Ctrl-C beside a task that receives in the background, in Julias of their own; and a thread of its own for that.
isdefined(@__MODULE__, :held) || include("support.jl")

# What the user waits for, and what comes of it.
const wait_thrice = """
    for _ in 1:3
        try
            say("waiting")
            sleep($patience)
            say("not interrupted")
        catch e
            say(typeof(e))
        end
    end
    """

test("Ctrl-C ends what the user waits for, and a task that receives in the background goes on") do url
    with_julia("""
        r = Receiver("$url")
        receiving = @async for m in eachmessage(r)
            say(String(m))
            m.tag == 1 && break
        end
        $wait_thrice
        wait(receiving)
        """) do julia
        Sender(url) do s
            for _ in 1:3
                expect(julia, "waiting")
                put!(s, "a message")  # so that the receiving task is the one that ran last
                expect(julia, "a message")
                sleep(0.1)
                kill(julia, Base.SIGINT)
                expect(julia, "InterruptException")
            end
            put!(s, "the last"; tag=1)
            expect(julia, "the last")
        end
    end
end

test("Ctrl-C ends what the user waits for also where messages come faster than the task in the background takes them") do url
    verbs = ("for m in eachmessage(r) work() end", "while true recv(r); work() end", "while true take!(r); work() end",
             "for bytes in r work() end", "while true recv(r, Vector{UInt8}; timeout=1); work() end")
    for verb in verbs
        with_julia("""
            r = Receiver("$url")
            work(began=time_ns()) = while time_ns() - began < 2_000_000 end
            receiving = @async $verb
            while LibIPC.stats(r).messages < 200 sleep(0.01) end  # all is compiled
            $wait_thrice
            say(istaskdone(receiving) ? receiving.exception : "still receiving")
            """) do julia
            Sender(url; capacity=65536) do s
                flood = @async try
                    while true
                        send(s, zeros(UInt8, 64))
                    end
                catch e
                    e isa InvalidStateException || rethrow()
                end
                for _ in 1:3
                    expect(julia, "waiting")
                    sleep(0.1)
                    kill(julia, Base.SIGINT)
                    expect(julia, "InterruptException")
                end
                expect(julia, "still receiving")
                close(s)
                @test result(flood)
            end
        end
    end
end

test("a warning says so when Ctrl-C has ended a task in the background, at the latest when its handle is used again") do url
    with_julia("""
        redirect_stderr(stdout)
        r = Receiver("$url")
        receiving = @async begin
            recv(r)
            say("received")
            while true GC.safepoint() end
        end
        try
            wait(receiving)
        catch e
        end
        isready(r)
        """) do julia
        Sender(url) do s
            put!(s, "a message")
            expect(julia, "received")
            sleep(0.1)
            kill(julia, Base.SIGINT)
            expect(julia, "Warning: Ctrl-C has ended a task in the background that used $url")
        end
    end
end

test("the example of a thread of its own: it receives while the first thread computes") do url
    example = joinpath(package, "examples", "own_thread.jl")
    output = read(`$(Base.julia_cmd()) --startup-file=no --history-file=no --project=$package -t 2 $example`, String)
    @test output == "1000 messages came while the first thread computed\n"
end
