# Ctrl-C at random moments, in loops over every verb that don't wait.
isdefined(@__MODULE__, :held) || include("support.jl")

const presses = parse(Int, get(ENV, "LIBIPC_PRESSES", "60"))  # for each verb

# How message n is sent, and how the next one is received, as its number.
const send_it = "send(s, [n])"
const receive_it = "number(recv(r))"
const loops = (
    "recv" => (send_it, receive_it),
    "recv with a time-out" => (send_it, "number(recv(r; timeout=$patience))"),
    "recv with a function" => (send_it, "recv(number, r)"),
    "recv of a value" => (send_it, "recv(r, Int)"),
    "recv of a Vector" => (send_it, "recv(r, Vector{Int})[1]"),
    "recv!" => (send_it, "(recv!(buffer, r); buffer[1])"),
    "hold and release" => (send_it, "(m = hold(recv(r)); k = number(m); release(m); k)"),
    "recv_blocking" => (send_it, "number(recv_blocking(r))"),
    "recv_blocking with a time-out" => (send_it, "number(recv_blocking(r; timeout=$patience))"),
    "eachmessage" => (send_it, "number(iterate(eachmessage(r))[1])"),
    "take!" => (send_it, "number(take!(r))"),
    "isready, wait, fetch and take!" => (send_it, "(isready(r); wait(r); fetch(r); number(take!(r)))"),
    "send of a value" => ("send(s, n)", receive_it),
    "send in place" => ("send(room -> (reinterpret(Int, room)[1] = n; nothing), s, 8)", receive_it),
    "put!" => ("put!(s, n)", receive_it),
    "flush and put!" => ("(flush(s); put!(s, n))", "recv(r, Int)"),
    "opening and closing" => ("(o = Sender(\"shm://other.\$(getpid())\"); close(o); send(s, n))", receive_it))

# Another Julia runs the loops, is pressed again and again, and goes on each time where it was. What it counts must be what
# the library counts: an InterruptException out of a verb means that this has done nothing.
test("Ctrl-C at any moment in a loop over any verb loses nothing, doubles nothing, and leaves nothing behind") do url
    functions = ["""
        function (r, s, rounds)
            for _ in 1:rounds
                if sent[] == received[]
                    n = sent[] + 1
                    $send
                    sent[] = n
                end
                k = $receive
                wrong[] += k != received[] + 1
                received[] = k
            end
        end
        """ for (name, (send, receive)) in loops]
    with_julia("""
        using Logging
        global_logger(NullLogger())  # one that is forgotten before it is closed is open until it is collected
        function number(m)
            length(m) == 8 || error("a message of \$(length(m)) bytes")
            return reinterpret(Int, m)[1]
        end
        const sent, received, wrong = Ref(0), Ref(0), Ref(0)
        const buffer = [0]
        function press(loop, url)
            sent[] = received[] = wrong[] = 0
            r, s = Receiver(url), Sender(url)
            loop(r, s, 100)  # compiles all, which is no place to count at
            for round in 1:$presses
                try
                    say("pressed")
                    reenable_sigint(() -> loop(r, s, typemax(Int)))
                catch e
                    e isa InterruptException || rethrow()
                end
                r.handle.inside == s.handle.inside == C_NULL && !s.handle.viewing || say("somebody is inside")
            end
            sent[] == received[] || (received[] = only(reinterpret(Int, take!(r))))
            say((wrong[], sent[] - received[], LibIPC.stats(s).messages - sent[], LibIPC.stats(r).messages - sent[],
                 LibIPC.stats(r).held - r.handle.viewing, isready(r)))
            say((close(s) - close(r)) in (0, 1))
        end
        disable_sigint() do
            for (i, loop) in enumerate(($(join(functions, ","))))
                press(loop, "$url.\$i")
            end
        end
        """) do julia
        for (name, _) in loops
            rounds = 0
            while (line = readline(julia)) == "pressed"
                later = time_ns() + rand(0:1_000_000)
                while time_ns() < later end
                kill(julia, Base.SIGINT)
                rounds += 1
            end
            (line, rounds) == ("(0, 0, 0, 0, 0, false)", presses) || @error "after Ctrl-C in a loop over $name"
            @test line == "(0, 0, 0, 0, 0, false)"
            @test rounds == presses
            expect(julia, "true")
        end
    end
end
