# What runs for each message allocates nothing.
isdefined(@__MODULE__, :held) || include("support.jl")

# The bytes that `rounds` of step(s, r, n) allocate, n messages each, after a first one that compiles.
function allocated(step::F, s, r) where {F}
    step(s, r, 100)
    return @allocated for _ in 1:20
        step(s, r, 500)
    end
end

const payload = zeros(UInt8, 64)
const buffer = zeros(UInt8, 64)

send_all(s, r, n) = (foreach(i -> send(s, payload; tag=i), 1:n); receive_all(r, n))
receive_all(r, n) = (total = 0; for _ in 1:n; m = recv(r); total += m.tag + @inbounds m[1]; end; total)

steps = Dict(
    "recv" => send_all,
    "recv with a time-out" => (s, r, n) -> for i in 1:n
        send(s, payload; timeout=1)
        recv(r; timeout=1)
    end,
    "eachmessage" => (s, r, n) -> begin
        foreach(_ -> send(s, payload), 1:n)
        left = n
        for m in eachmessage(r)
            (left -= 1) == 0 && break
        end
    end,
    "recv with a function" => (s, r, n) -> for i in 1:n
        send(s, payload)
        recv(length, r)
    end,
    "recv_blocking" => (s, r, n) -> for i in 1:n
        send(s, payload)
        recv_blocking(r)
    end,
    "hold and release" => (s, r, n) -> for i in 1:n
        send(s, payload)
        m = hold(recv(r))
        release(m)
    end,
    "recv of a value" => (s, r, n) -> for i in 1:n
        send(s, (i, 1.5))
        recv(r, Tuple{Int,Float64})[1] == i || error("a wrong value")
    end,
    "recv!" => (s, r, n) -> for i in 1:n
        send(s, payload)
        recv!(buffer, r)
    end,
    "send in place" => (s, r, n) -> for i in 1:n
        send(room -> (@inbounds room[1] = 0x01), s, 64)
        recv(r)
    end,
    "typed views" => (s, r, n) -> for i in 1:n
        send(s, payload)
        m = recv(r)
        sum(reinterpret(Float32, m)) + sum(view(m, 1:8)) == 0 || error("a wrong sum")
    end)

for (what, step) in steps
    test("$what allocates nothing") do url
        Receiver(url) do r
            Sender(url) do s
                @test allocated(step, s, r) == 0
            end
        end
    end
end
