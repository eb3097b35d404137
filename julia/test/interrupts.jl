# Ctrl-C, in Julias of their own.
isdefined(@__MODULE__, :held) || include("support.jl")

# Until the first thread of that process sleeps: three looks in a row.
asleep(pid) = eventually() do
    all(1:3) do _
        sleep(0.002)
        split(last(split(read("/proc/$pid/stat", String), ") "; limit=2)))[1] == "S"
    end
end

function ctrl_c(julia)
    @test asleep(getpid(julia))
    kill(julia, Base.SIGINT)
end

for verb in ("take!(r)", "recv(r)", "recv(r; timeout=patience)", "recv_blocking(r)")
    test("Ctrl-C ends $verb with InterruptException, each time, and nothing is lost") do url
        with_julia("""
            r = Receiver("$url")
            for _ in 1:3
                try
                    say("waiting")
                    $verb
                    say("no exception")
                catch e
                    say(typeof(e))
                end
            end
            say(recv(r, String; timeout=patience))
            say(String(recv_blocking(r; timeout=patience)))
            close(r)
            """) do julia
            for _ in 1:3
                expect(julia, "waiting")
                ctrl_c(julia)
                expect(julia, "InterruptException")
            end
            Sender(url) do s
                send(s, "after")
                send(s, "and after")
                expect(julia, "after")
                expect(julia, "and after")
            end
        end
    end
end

test("Ctrl-C ends a sender's wait for room, and the sender goes on") do url
    with_julia("""
        s = Sender("$url"; capacity=65536)
        try
            say("waiting")
            foreach(i -> send(s, zeros(UInt8, 30_000); tag=i), 1:5)
        catch e
            say(typeof(e))
        end
        say(LibIPC.stats(s).messages)
        send(s, "after"; tag=9)
        close(s; linger=patience)
        """) do julia
        expect(julia, "waiting")
        ctrl_c(julia)
        expect(julia, "InterruptException")
        expect(julia, "2")
        Receiver(url) do r
            @test [Int(m.tag) for m in eachmessage(r; until=:end)] == [1, 2, 9]
        end
    end
end

test("Ctrl-C again and again, faster than it is served, leaves the handle as it was") do url
    # Only the wait may be interrupted. Four that come faster than Julia can throw one it throws by force, wherever it is:
    # so a round is over when both of its presses are.
    with_julia("""
        r = Receiver("$url")
        disable_sigint() do
            for round in 1:200
                try
                    say("waiting")
                    reenable_sigint(() -> isodd(round) ? recv_blocking(r) : recv(r))
                catch e
                    e isa InterruptException || rethrow()
                end
                readline()
                try reenable_sigint(() -> nothing) catch end
            end
            say("enough")
            say(recv(r, String; timeout=patience))
            say(LibIPC.stats(r).held)
            close(r)
            exit(0)
        end
        """) do julia
        rounds = 0
        while (line = readline(julia)) == "waiting"
            kill(julia, Base.SIGINT)
            # The second one falls anywhere into what the first one has begun.
            later = time_ns() + rand(0:200_000)
            while time_ns() < later end
            kill(julia, Base.SIGINT)
            println(julia, "pressed")
            rounds += 1
        end
        @test line == "enough"
        @test rounds == 200
        Sender(url) do s
            send(s, "still here")
            expect(julia, "still here")
            expect(julia, "0")
        end
    end
end

test("Ctrl-C ends a loop that never waits") do url
    with_julia("""
        r = Receiver("$url")
        function drain(r)
            for m in eachmessage(r)
                m.tag == 1 && say("streaming")
            end
        end
        try
            drain(r)
        catch e
            say(typeof(e))
        end
        close(r)
        """) do julia
        Sender(url) do s
            sending = @async for tag in 1:typemax(Int)
                send(s, "x"; tag=tag)
                tag % 100 == 0 && yield()
            end
            expect(julia, "streaming")
            kill(julia, Base.SIGINT)
            expect(julia, "InterruptException")
            close(s)
            @test failure(sending) isa InvalidStateException
        end
    end
end

test("a script that waits is ended by Ctrl-C, as any script is") do url
    for verb in ("take!(r)", "recv_blocking(r)")
        script = joinpath(folder, "script.jl")
        write(script, """
            using LibIPC
            r = Receiver("$url")
            println("waiting"); flush(stdout)
            $verb
            """)
        command = `$(Base.julia_cmd()) --startup-file=no --history-file=no --project=$package $script`
        julia = open(pipeline(command; stderr=devnull), "r+")
        expect(julia, "waiting")
        ctrl_c(julia)
        @test eventually(() -> process_exited(julia))
        @test !success(julia)
        rm(script)
        sweep(url)
    end
end

# A terminal with a Julia prompt in it, by util-linux's script(1).
function with_prompt(f)
    command = `$(Base.julia_cmd()) --startup-file=no --history-file=no --color=no --project=$package -i`
    line = join(map(Base.shell_escape, command.exec), " ")
    terminal = open(setenv(`script -qfec $line /dev/null`, merge(Dict(ENV), Dict("TERM" => "dumb"))), "r+")
    try
        f(terminal)
        write(terminal, "exit()\n")
        @test eventually(() -> process_exited(terminal))
    finally
        process_running(terminal) && kill(terminal, Base.SIGKILL)
        close(terminal)
    end
end

# Reads until the words come.
function hears(terminal, words)
    heard = ""
    reading = @async while !occursin(words, heard) && !eof(terminal)
        heard *= String(readavailable(terminal))
    end
    eventually(() -> istaskdone(reading))
    occursin(words, heard) || @error "the prompt did not say $words" heard
    return occursin(words, heard)
end

# Some containers have none.
const terminals = success(pipeline(`script -qec true /dev/null`; stdout=devnull, stderr=devnull))
terminals || @testset "skipped: no terminal can be made here" begin @test_skip terminals end

for verb in (terminals ? ("take!(r)", "recv_blocking(r)") : ())
    test("Ctrl-C at the prompt ends $verb, and the prompt goes on") do url
        with_prompt() do terminal
            write(terminal, "using LibIPC; r = Receiver(\"$url\"); print(\"op\", \"ened\")\n")
            @test hears(terminal, "opened")
            for _ in 1:2
                write(terminal, "print(\"wai\", \"ting\"); $verb\n")
                @test hears(terminal, "waiting")
                sleep(0.2)  # its thread can't be seen from here; too early a Ctrl-C would be as good
                write(terminal, "\x03")
                @test hears(terminal, "InterruptException")
            end
            Sender(url) do s
                send(s, "hello")
                write(terminal, "recv(r, String; timeout=$patience) * \" again\"\n")
                @test hears(terminal, "hello again")
            end
            write(terminal, "close(r)\n")
        end
    end
end
