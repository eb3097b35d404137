# What LibIPC.channels() tells of all handles.
isdefined(@__MODULE__, :held) || include("support.jl")

listed(url) = filter(c -> c.url == url && c.pid == getpid(), LibIPC.channels())

test("each side of a channel is listed with the other, what it holds, and its runtime folder") do url
    s, r = Sender(url), Receiver(url)
    put!(s, zeros(UInt8, 1000))
    m = hold(recv(r; timeout=patience))
    LibIPC.stats(s), LibIPC.stats(r)
    sender, receiver = listed(url)
    @test (sender.role, receiver.role) == (:sender, :receiver)
    @test (sender.messages, sender.bytes) == (receiver.messages, receiver.bytes) == (1, 1000)
    for (own, other) in ((sender, receiver), (receiver, sender))
        link = only(own.links)
        @test own.peers == 1
        @test (link.peer, link.pid, link.state) == (other.id, getpid(), :up)
        @test (link.behind, link.skipped, link.lost) == (0, 0, 0)
        @test link.held >= 1000
        @test own.folder == ENV["IPC_DIR"]
    end
    release(m)
    close(s), close(r)
    @test isempty(listed(url))
end
