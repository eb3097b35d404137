# The client that speaks the framing in Julia's own Sockets, in a process of its own.
isdefined(@__MODULE__, :held) || include("support.jl")

const client = joinpath(package, "examples", "sockets_client.jl")

test("what a client in Julia's own Sockets sends arrives, and then its end; it learns that all is released") do _
    words = ["one", "", "three", "ü"^5_000]
    events = []
    Receiver("tcp://127.0.0.1:0"; onevent=(kind, sender) -> push!(events, kind)) do r
        port = last(split(LibIPC.url(r), ':'))
        process = run(`$(Base.julia_cmd()) --startup-file=no --history-file=no $client $port $words`; wait=false)
        watchdog = Timer(_ -> (kill(process, Base.SIGKILL); close(r)), patience)
        got = [(String(copy(m)), m.tag, m.sequence) for m in eachmessage(r; until=:end)]
        @test got == [(words[n], 100n, n) for n in 1:4]
        @test success(process)
        close(watchdog)
        @test events == [:end]
        @test LibIPC.stats(r).refused == 0
    end
end
