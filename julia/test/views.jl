# Messages and rooms as vectors: of bytes, of other types, in parts.
isdefined(@__MODULE__, :held) || include("support.jl")

struct Sample
    left::Int16
    right::Int16
    at::Float64
end

# Runs f(m, data) with a message that holds the bytes of `data`, and sees it.
function with_message(f, url, data)
    Receiver(url) do r
        Sender(url) do s
            send(s, data)
            recv(m -> f(m, data), r)
        end
    end
end

test("a message is a vector of bytes in all that vectors do") do url
    with_message(url, UInt8[3, 1, 2, 250, 0]) do m, v
        @test m isa DenseVector{UInt8} && isbits(m)
        @test length(m) == 5 && size(m) == (5,) && axes(m) == axes(v) && strides(m) == (1,) && sizeof(m) == 5
        @test eltype(m) == UInt8 && Base.elsize(typeof(m)) == 1 && IndexStyle(m) == IndexLinear()
        @test [b for b in m] == v && collect(m) == v && copy(m) == v && Vector(m) == v && Array(m) == v
        @test Vector{UInt8}(m) == v && m[:] == v && m[2:3] == v[2:3] && m[end] == v[end] && m[begin] == v[1]
        @test typeof(m[2:3]) == Vector{UInt8} && typeof(copy(m)) == Vector{UInt8} && typeof(similar(m)) == Vector{UInt8}
        @test m == v && v == m && m == m && isequal(m, v) && hash(m) == hash(v)
        @test m != v[1:4] && m != [v[1:4]; 0x01] && m == Int.(v)
        @test sum(m) == sum(v) && maximum(m) == 250 && sort(m) == sort(v) && findfirst(==(0x02), m) == 3
        @test m .+ 1 == v .+ 1 && map(x -> 2x, m) == map(x -> 2x, v) && reverse(m) == reverse(v) && [m; v] == [v; v]
        @test String(m) == String(copy(v)) && Base.String(view(m, 1:2)) == "\x03\x01"
        @test sprint(write, m) == sprint(write, v) && read(IOBuffer(copy(m))) == v
        @test copyto!(zeros(UInt8, 7), m) == [v; 0; 0] && copyto!(zeros(Int, 5), m) == v
        @test copyto!(zeros(UInt8, 3), 2, m, 4, 2) == [0, 250, 0]
        @test unsafe_wrap(Array, m) == v && unsafe_wrap(Vector{UInt8}, m) == v
        @test foldl(-, m; init=0) == foldl(-, v; init=0) && collect(enumerate(m)) == collect(enumerate(v))
        @test ccall(:memcmp, Cint, (Ptr{UInt8}, Ptr{Cvoid}, Csize_t), m, m, 5) == 0
    end
end

test("an index outside is a BoundsError") do url
    with_message(url, UInt8[1, 2]) do m, v
        for access in (() -> m[0], () -> m[3], () -> m[1:3], () -> view(m, 0:1), () -> view(m, 2:3),
                       () -> copyto!(zeros(UInt8, 1), m), () -> copyto!(zeros(UInt8, 3), 3, m, 1, 2),
                       () -> copyto!(zeros(UInt8, 3), 1, m, 2, 2), () -> reinterpret(Int16, m)[2])
            @test_throws BoundsError access()
        end
    end
end

test("a message is a vector of any isbits type") do url
    for data in (Float32[1, 2.5, -3], [1, 2, 3], Sample[Sample(1, 2, 0.5), Sample(3, 4, 1.5)], [(0x01, 2.0)], [1.0 + 2im])
        with_message(url, data) do m, data
            v = reinterpret(eltype(data), m)
            @test v isa DenseVector{eltype(data)} && isbits(v)
            @test v == data && collect(v) == data && copy(v) == data && v[end] == data[end]
            @test view(v, 1:1) == data[1:1] && [x for x in v] == data
            @test reinterpret(UInt8, v) == m
            @test unsafe_wrap(Array, v) == data
        end
    end
end

test("typed views compute what Vectors do, short and long") do url
    for n in (0, 1, 3, 1000, 20_000)
        data = rand(Float32, n)
        with_message(url, data) do m, data
            v = reinterpret(Float32, m)
            @test sum(v) ≈ sum(data) && v .* 2 == data .* 2 && map(abs2, v) == map(abs2, data)
            @test v .+ data == 2 .* data && (v .> 0.5f0) == (data .> 0.5f0)
            out = zeros(Float32, n)
            out .= v .- 1
            @test out == data .- 1
            @test (v .+ [1f0 2f0]) == (data .+ [1f0 2f0])
            @test (n == 0 || maximum(v) == maximum(data)) && extrema([v; 0]) == extrema([data; 0])
        end
    end
end

test("bytes that are no whole number of elements are refused, and types that are not plain data") do url
    with_message(url, UInt8[1, 2, 3]) do m, v
        @test_throws ArgumentError reinterpret(Int16, m)
        @test_throws ArgumentError reinterpret(String, m)
        @test_throws ArgumentError reinterpret(Vector{Int}, m)
        @test_throws ArgumentError reinterpret(Nothing, m)
    end
end

test("what is received can't be written") do url
    with_message(url, UInt8[1, 2, 3, 4]) do m, v
        for write in (() -> m[1] = 1, () -> fill!(m, 0), () -> (m .= 0), () -> (reinterpret(Int32, m)[1] = 1),
                      () -> (view(m, 1:2)[1] = 1), () -> copyto!(m, m), () -> sort!(m))
            @test_throws ArgumentError write()
        end
        @test_throws ReadOnlyMemoryError unsafe_wrap(Array, m)[1] = 1
        @test m == v
    end
end

test("every use of a message that was given back throws StaleMessageError") do url
    Receiver(url) do r
        Sender(url) do s
            send(s, Float32[1, 2])
            m = recv(r)
            v, part = reinterpret(Float32, m), view(m, 1:4)
            release(m)
            for x in (m, v, part), use in (x -> x[1], length, size, sum, copy, collect, x -> x == [1], x -> x .+ 1,
                                           x -> [b for b in x], x -> copyto!(zeros(eltype(x), 9), x), x -> view(x, 1:1),
                                           x -> reinterpret(UInt8, x), x -> unsafe_wrap(Array, x), x -> sprint(write, x),
                                           x -> send(s, x), maximum, x -> map(identity, x), iterate)
                @test_throws StaleMessageError use(x)
            end
            @test_throws StaleMessageError String(m)
            @test_throws StaleMessageError hold(m)
            @test_throws StaleMessageError release(m)
            @test sprint(show, m) == sprint(show, MIME("text/plain"), m) == "Message (released)"
            @test endswith(sprint(show, v), "(released)")
            @test endswith(sprint(show, MIME("text/plain"), v), "(released)")
        end
    end
end

test("a message shows what it is") do url
    with_message(url, UInt8[1, 2, 3]) do m, v
        text = sprint(show, MIME("text/plain"), m)
        @test startswith(text, "3-byte Message with tag 0, sequence 1, of sender 0x")
        @test occursin("0x01\n", text)
        @test sprint(show, m) == sprint(show, v)
        @test startswith(sprint(show, MIME("text/plain"), view(m, 1:2)), "2-element view of UInt8")
    end
end

test("a room is filled in place, in every way") do url
    Receiver(url) do r
        Sender(url) do s
            fills = [room -> (room .= 1:8), room -> copyto!(room, UInt8.(1:8)), room -> (for i in 1:8; room[i] = i; end),
                     room -> (reinterpret(UInt64, room)[1] = 0x0807060504030201), room -> read!(IOBuffer(UInt8.(1:8)), room),
                     room -> (view(room, 1:4) .= 1:4; view(room, 5:8) .= view(room, 1:4) .+ 4),
                     room -> (unsafe_wrap(Array, room)[:] = 1:8), room -> copyto!(room, 1, 0:9, 2, 8),
                     room -> (reinterpret(UInt32, room) .= [0x04030201, 0x08070605])]
            for fill in fills
                send(fill, s, 8; tag=5)
                m = recv(r; timeout=patience)
                @test m == 1:8
                @test m.tag == 5
            end
        end
    end
end

test("long rooms are filled by broadcasting as Arrays are") do url
    n = 5000
    Receiver(url) do r
        Sender(url) do s
            send(s, 4n) do room
                v = reinterpret(Float32, room)
                v .= 1:n
                v .*= 2
                view(v, 2:n) .= view(v, 1:n-1) .+ 1  # reads what it writes: as if it had been copied before
            end
            expected = Float32[2; 2 .* (1:n-1) .+ 1]
            @test reinterpret(Float32, recv(r)) == expected
        end
    end
end

test("a room may be cut short, and is nothing after it was sent") do url
    Receiver(url) do r
        Sender(url) do s
            kept = nothing
            send(s, 100) do room
                room .= 7
                @test_throws ArgumentError truncate(room, 101)
                truncate(room, 3)
                kept = room
            end
            @test recv(r) == [7, 7, 7]
            @test_throws StaleMessageError kept[1]
            @test_throws StaleMessageError kept .= 1
            @test_throws StaleMessageError truncate(kept, 1)
            send(room -> truncate(room, 0), s, 10)
            @test isempty(recv(r))
        end
    end
end

test("what throws while it fills a room sends nothing") do url
    Receiver(url) do r
        Sender(url) do s
            @test_throws ErrorException send(room -> error("no"), s, 10)
            @test LibIPC.stats(s).messages == 0
            send(s, "after")
            @test String(recv(r)) == "after"
        end
    end
end

test("closing a sender while its room is filled sends the message, and then the end") do url
    Receiver(url) do r
        s = Sender(url)
        send(s, 3) do room
            room .= 1:3
            close(s)
            @test !isopen(s)
            @test room == 1:3
        end
        @test [copy(m) for m in eachmessage(r; until=:end)] == [[1, 2, 3]]
    end
end

test("sending within the filling of a room is refused, and the room is sent") do url
    Receiver(url) do r
        Sender(url) do s
            send(s, 1) do room
                room[1] = 9
                @test_throws LibIPC.IPCError send(s, "x")
                @test_throws LibIPC.IPCError send(identity, s, 1)
                @test room == [9]
            end
            @test recv(r) == [9]
            @test !isready(r)
        end
    end
end
