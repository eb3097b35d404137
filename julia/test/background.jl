# Ctrl-C beside a task that receives in the background, in Julias of their own; and a thread of its own for that.
isdefined(@__MODULE__, :held) || include("support.jl")

test("Ctrl-C ends what the user waits for, and a task that receives in the background goes on") do url
    with_julia("""
        r = Receiver("$url")
        receiving = @async for m in eachmessage(r)
            say(String(m))
            m.tag == 1 && break
        end
        for _ in 1:3
            try
                say("waiting")
                sleep($patience)
                say("not interrupted")
            catch e
                say(typeof(e))
            end
        end
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

test("the example of a thread of its own: it receives while the first thread computes") do url
    example = joinpath(package, "examples", "own_thread.jl")
    output = read(`$(Base.julia_cmd()) --startup-file=no --history-file=no --project=$package -t 2 $example`, String)
    @test output == "1000 messages came while the first thread computed\n"
end
