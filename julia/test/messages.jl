# Messages as they come and go: the fast form.
isdefined(@__MODULE__, :held) || include("support.jl")

test("a message arrives whole, with its tag and sequence") do url
    Receiver(url) do r
        Sender(url) do s
            for size in (0, 1, 15, 16, 17, 255, 256, 4096, 100_000)
                bytes = rand(UInt8, size)
                send(s, bytes; tag=size)
                m = recv(r; timeout=patience)
                @test m == bytes
                @test length(m) == size
                @test m.tag == size
                @test m.sender == LibIPC.stats(s).id
                @test !m.redelivered
            end
            send(s, "last")
            @test recv(r; timeout=patience).sequence == 10
        end
    end
end

test("a view is good until the next recv, and says so after") do url
    Receiver(url) do r
        Sender(url) do s
            send(s, "one")
            send(s, "two")
            first = recv(r)
            @test String(first) == "one"
            second = recv(r)
            @test_throws StaleMessageError first[1]
            @test_throws StaleMessageError String(first)
            @test_throws StaleMessageError sum(first)
            @test String(second) == "two"
        end
    end
end

test("messages that are held stay good, and are released in any order") do url
    Receiver(url) do r
        Sender(url) do s
            foreach(i -> send(s, [i]), 1:5)
            kept = [hold(recv(r)) for _ in 1:5]
            @test LibIPC.stats(r).held == 5
            @test [only(reinterpret(Int, m)) for m in kept] == 1:5
            foreach(i -> release(kept[i]), [3, 1, 5, 4])
            @test only(reinterpret(Int, kept[2])) == 2
            @test_throws StaleMessageError release(kept[3])
            @test LibIPC.stats(r).held == 1
            release(kept[2])
            @test LibIPC.stats(s).unreleased == 0
        end
    end
end

test("a second release, and a second hold, are refused") do url
    Receiver(url) do r
        Sender(url) do s
            foreach(_ -> send(s, "x"), 1:3)
            m = hold(recv(r))
            @test_throws ArgumentError hold(m)
            release(m)
            @test_throws StaleMessageError release(m)
            @test_throws StaleMessageError hold(m)
            unheld = recv(r)
            release(unheld)
            @test_throws StaleMessageError release(unheld)
            @test LibIPC.stats(r).held == 0
            @test String(recv(r)) == "x"
        end
    end
end

test("recv with a function keeps its message while others are received, and gives it back if it throws") do url
    Receiver(url) do r
        Sender(url) do s
            foreach(i -> send(s, [i]), 1:3)
            @test recv(m -> (recv(r, Int), only(reinterpret(Int, m))), r) == (2, 1)
            @test_throws ErrorException recv(m -> error("no"), r)
            @test LibIPC.stats(r).held == 0
            @test !isready(r)
        end
    end
end

test("whatever lies in memory in one piece can be sent") do url
    matrix = reshape(collect(Int32, 1:12), 3, 4)
    bytes = collect(0x01:0x08)
    for (data, sent) in (("text", codeunits("text")), (SubString("a text", 3), codeunits("text")), ("", UInt8[]),
                         (codeunits("é"), [0xc3, 0xa9]), (bytes, bytes), (matrix, reinterpret(UInt8, vec(matrix))),
                         (view(matrix, :, 2:3), reinterpret(UInt8, Int32[4:9;])), (view(bytes, 3:5), [3, 4, 5]),
                         (view(matrix, 2, 2), reinterpret(UInt8, Int32[5])), (reinterpret(UInt16, bytes), bytes),
                         (1.5, reinterpret(UInt8, [1.5])), ((0x01, 0x02), [1, 2]), ((a=0x07,), [7]), (UInt8[], UInt8[]),
                         ([true, false], [1, 0]), ('a', reinterpret(UInt8, ['a'])), (Test.GenericString("text"), codeunits("text")))
        Receiver(url) do r
            Sender(url) do s
                send(s, data; tag=3)
                m = recv(r; timeout=patience)
                @test m == sent
                @test m.tag == 3
                @test put!(s, data; tag=4) === data
                @test take!(r) == sent
            end
        end
    end
end

test("a message is sent on from where it lies") do url
    Receiver(url) do r
        Sender("$url.on") do on
            Receiver("$url.on") do last
                Sender(url) do s
                    send(s, Float32[1, 2])
                    recv(r) do m
                        send(on, m; tag=1)
                        send(on, view(m, 1:4); tag=2)
                        send(on, reinterpret(Float32, m); tag=3)
                    end
                    @test recv(last, Vector{Float32}) == [1, 2]
                    @test recv(last, Vector{Float32}) == [1]
                    @test recv(last, Vector{Float32}) == [1, 2]
                end
            end
        end
    end
end

test("what can't be sent is refused in words, and nothing is sent") do url
    Sender(url) do s
        for (data, words) in ((view(1:10, 1:2:9), "one piece"), (view([1, 2, 3, 4], 1:2:3), "one piece"), (1:3, "one piece"),
                              (view([1 2; 3 4], 1:1, :), "one piece"), (["a"], "isbits"), (Any[1], "isbits"),
                              ([nothing, 1], "isbits"), (:symbol, "can't be sent"), (Dict(), "can't be sent"),
                              (nothing, "no bytes"), (missing, "no bytes"))
            for verb in (send, put!)
                e = try verb(s, data) catch e; e end
                @test e isa ArgumentError
                @test occursin(words, e.msg)
            end
        end
        for tag in (-1, big(2)^64), verb in (send, put!)
            e = try verb(s, "x"; tag=tag) catch e; e end
            @test e isa ArgumentError && occursin("tag", e.msg)
        end
        @test_throws ArgumentError send(identity, s, -1)
        @test LibIPC.stats(s).messages == 0
    end
end

test("a do-block of a sender warns of what is lost, when no receiver is connected") do url
    @test_logs (:warn, r"2 messages on shm://.* are lost") Sender(s -> foreach(i -> put!(s, i), 1:2), url)
    Receiver(url) do r
        @test_logs Sender(s -> put!(s, "x"), url)
        @test String(take!(r)) == "x"
    end
end

test("a capacity that is none is refused in words") do url
    for capacity in (0, -1)
        @test_throws ArgumentError Sender(url; capacity=capacity)
        @test_throws ArgumentError Sender(url; max_capacity=capacity)
    end
    e = try Sender(url; capacity=2^20, max_capacity=2^16) catch e; e end
    @test e isa LibIPC.IPCError && occursin("max_capacity", e.words)
end

test("a message that is larger than the ring makes it grow, up to max_capacity") do url
    Sender(url; max_capacity=2^24) do s
        Receiver(url) do r
            bytes = rand(UInt8, 2^23)
            send(s, bytes; timeout=patience)
            @test LibIPC.stats(s).capacity == 2^24
            @test recv(==(bytes), r; timeout=patience)
            put!(s, bytes)
            @test take!(r) == bytes
            e = try send(s, zeros(UInt8, 2^23 + 1)) catch e; e end
            @test e isa LibIPC.IPCError && occursin("max_capacity", e.words)
            @test eventually(() -> LibIPC.stats(s).capacity == 2^20)
        end
    end
end

test("a message that can never fit is refused, and the error names the capacity") do url
    Sender(url; capacity=65536) do s
        for verb in (() -> send(s, zeros(UInt8, 60_000)), () -> put!(s, zeros(UInt8, 60_000)), () -> send(identity, s, 60_000))
            e = try verb() catch e; e end
            @test e isa LibIPC.IPCError && occursin("capacity", e.words) && occursin(url, e.words)
        end
    end
end

test("a message of another size than was asked for is refused, and stays the next one") do url
    Receiver(url) do r
        Sender(url) do s
            send(s, UInt8[1, 2, 3]; tag=1)
            send(s, "next")
            for verb in (() -> recv(r, Int), () -> recv(r, Vector{Int16}), () -> recv!(zeros(UInt8, 2), r),
                         () -> recv(r, Vector{Nothing}))
                e = try verb() catch e; e end
                @test e isa ArgumentError && occursin("3 bytes", e.msg)
            end
            @test isready(r)
            @test_throws ArgumentError recv(r, Vector{String})
            @test_throws ArgumentError recv(r, Dict)
            m = recv(r)
            @test m == [1, 2, 3] && m.tag == 1
            @test take!(r) == codeunits("next")
        end
    end
end

test("a value of any plain-data type is received, one without bytes too") do url
    Receiver(url) do r
        Sender(url) do s
            for x in (0x07, -1, 2.5, 'x', (0x01, 2.5, Int8(3)), (a=1, b=(2.0f0, true)), Ptr{Nothing}(8))
                send(s, x)
                @test recv(r, typeof(x)) === x
            end
            send(s, UInt8[])
            @test recv(r, Nothing) === nothing
        end
    end
end

test("recv! fills any buffer that lies in one piece") do url
    Receiver(url) do r
        Sender(url) do s
            foreach(_ -> send(s, Int16[1, 2, 3]), 1:5)
            @test (b = zeros(UInt8, 8); recv!(b, r) == 6 && b == [1, 0, 2, 0, 3, 0, 0, 0])
            @test (b = zeros(Int16, 3); recv!(b, r) == 6 && b == [1, 2, 3])
            @test (b = zeros(Int16, 2, 2); recv!(b, r; timeout=patience) == 6 && b == [1 3; 2 0])
            @test (b = zeros(Int16, 9); recv!(view(b, 4:6), r) == 6 && b == [0, 0, 0, 1, 2, 3, 0, 0, 0])
            @test_throws ArgumentError recv!(view(zeros(Int16, 9), 1:2:9), r)
            @test recv(r, Vector{Int16}) == [1, 2, 3]
        end
    end
end

test("a message that was looked at by isready, wait or fetch is received by every verb") do url
    Receiver(url) do r
        Sender(url) do s
            for look in (isready, wait, fetch), take in (r -> String(take!(r)), r -> String(recv(r)), r -> recv(String, r),
                                                         r -> recv(r, String), r -> String(recv_blocking(r)),
                                                         r -> String(first_of(eachmessage(r))), r -> String(first(r)))
                send(s, "looked at")
                look(r)
                @test take(r) == "looked at"
                @test !isready(r)
            end
            @test LibIPC.stats(r).held == 0
        end
    end
end

test("a hundred thousand messages of every size up to half the ring arrive in order") do url
    Receiver(url) do r
        Sender(url; capacity=65536) do s
            sending = @async for i in 1:100_000
                send(s, i % 50 == 0 ? 30_000 : i % 97; timeout=patience) do room
                    isempty(room) || (@inbounds room[1] = room[end] = i % UInt8)
                end
            end
            for i in 1:100_000
                m = recv(r; timeout=patience)
                m.sequence == i && length(m) == (i % 50 == 0 ? 30_000 : i % 97) || error("message $i is $m")
                isempty(m) || m[1] == m[end] == i % UInt8 || error("message $i is $m")
            end
            result(sending)
            @test LibIPC.stats(s).messages == LibIPC.stats(r).messages == 100_000
        end
    end
end
