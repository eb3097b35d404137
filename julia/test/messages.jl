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
