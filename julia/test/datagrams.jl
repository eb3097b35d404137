# What is special to udp://.
isdefined(@__MODULE__, :held) || include("support.jl")

using Sockets

test("a message that comes twice or late on udp is marked") do _
    between = UDPSocket()
    port = first(n for n in 40000 .+ mod.(getpid() .+ (1:1000), 20000) if bind(between, ip"127.0.0.1", n))
    Receiver("udp://127.0.0.1:0") do r
        there = parse(Int, last(split(LibIPC.url(r), ':')))
        s = Sender("udp://127.0.0.1:$port")
        datagrams = [(send(s, "x"; tag=n); recv(between)) for n in 1:3]
        for n in (1, 3, 2, 3)
            send(between, ip"127.0.0.1", there, datagrams[n])
        end
        marks = [(Int(m.tag), m.duplicate, m.late) for m in (recv(r; timeout=patience) for _ in 1:4)]
        @test marks == [(1, false, false), (3, false, false), (2, false, true), (3, true, false)]
        close(s)
    end
    close(between)
end
