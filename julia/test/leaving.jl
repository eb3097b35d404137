# What leaves its process: messages that are saved or sent to a worker, and handles that a precompiled package keeps.
isdefined(@__MODULE__, :held) || include("support.jl")

using Distributed, Serialization

function saved(x)
    io = IOBuffer()
    serialize(io, x)
    return deserialize(seekstart(io))
end

# Runs f(r, m) with a held message of two numbers.
function with_two_numbers(f, url)
    Receiver(url) do r
        Sender(url) do s
            send(s, [1.0, 2.0])
            recv(m -> f(r, m), r)
        end
    end
end
const zeros_only = reinterpret(Message, zeros(UInt8, sizeof(Message)))[1]
const numbers = reinterpret(UInt8, [1.0, 2.0])

test("a message that is serialized is its bytes: alone, as a typed view, in arrays, tuples and NamedTuples") do url
    with_two_numbers(url) do r, m
        typed = reinterpret(Float64, m)
        for (x, copied) in ((m, numbers), (typed, [1.0, 2.0]), (view(m, 1:2), numbers[1:2]), ([m, m], [numbers, numbers]),
                            ([typed], [[1.0, 2.0]]), ([m m], [numbers numbers]), (Any[1, m], [1, numbers]), ((1, m), (1, numbers)),
                            ((frame=m, at=1.5), (frame=numbers, at=1.5)), ((at=1.5, frame=typed), (at=1.5, frame=[1.0, 2.0])))
            @test saved(x) == copied
            @test !(saved(x) isa LibIPC.Internals.Borrowed)
        end
        @test saved(m) isa Vector{UInt8} && saved([m]) isa Vector{Vector{UInt8}}
        @test m == numbers
    end
end

test("a message that was given back is not serialized, but refused") do url
    stale = with_two_numbers((r, m) -> m, url)
    @test_throws StaleMessageError saved(stale)
    @test_throws StaleMessageError saved([stale])
end

test("a message goes to a worker as its bytes, and the worker goes on") do url
    worker = only(addprocs(1; exeflags=["--startup-file=no", "--project=$package"]))
    try
        remotecall_fetch(Core.eval, worker, Main, :(using LibIPC))
        with_two_numbers(url) do r, m
            @test remotecall_fetch(x -> sum(reinterpret(Float64, x)), worker, m) == 3
            @test remotecall_fetch(sum, worker, reinterpret(Float64, m)) == 3
            @test remotecall_fetch(b -> map(length, b), worker, [m, m]) == [16, 16]
            for (x, words) in ((r, "can't be copied or leave its process"), (zeros_only, "given back"),
                               ([zeros_only], "given back"), ((frame=zeros_only,), "given back"))
                e = try remotecall_fetch(isnothing, worker, x) catch e; e end
                @test e isa RemoteException && occursin(words, sprint(showerror, e))
            end
            # One that comes as it lay in memory, with what was an address there.
            @test remotecall_fetch(worker, [(m, 1)]) do pairs
                try
                    length(pairs[1][1])
                catch e
                    nameof(typeof(e))
                end
            end === :StaleMessageError
            @test remotecall_fetch(+, worker, 1, 2) == 3
        end
    finally
        rmprocs(worker)
    end
end

test("a message of zeros, or of another process, throws wherever it is used") do url
    with_two_numbers(url) do r, m
        foreign = Message(m.data, m.length, m.tag, m.sequence, m.sender, m.position, m.link, false, false, false, Ptr{UInt}(8),
                          m.generation, m.session ⊻ 1)
        for x in (zeros_only, foreign)
            for use in (length, sum, copy, String, hold, release, x -> x[1], x -> x[:], x -> view(x, 1:0), collect,
                        x -> reinterpret(Float64, x), x -> x == UInt8[], x -> unsafe_wrap(Array, x), saved)
                @test_throws StaleMessageError use(x)
            end
            @test sprint(show, x) == "Message (released)"
            @test sprint(show, MIME("text/plain"), x) == "Message (released)"
        end
    end
end

test("deepcopy of a message, or of several, gives the bytes") do url
    Receiver(url) do r
        Sender(url) do s
            put!(s, Float64[1, 2])
            m = hold(recv(r))
            bytes, typed, several = deepcopy(m), deepcopy(reinterpret(Float64, m)), deepcopy([m, m])
            expected = copy(m)
            release(m)
            @test bytes isa Vector{UInt8} && bytes == expected
            @test typed isa Vector{Float64} && typed == [1, 2]
            @test several isa Vector{Vector{UInt8}} && several == [expected, expected]
            @test_throws StaleMessageError deepcopy(m)
        end
    end
end

test("a handle is neither copied nor serialized") do url
    Receiver(url) do r
        Sender(url) do s
            for x in (r, s), copying in (saved, deepcopy, x -> saved([x]), x -> deepcopy((x, 1)))
                e = try copying(x) catch e; e end
                @test e isa ArgumentError && occursin("can't be copied or leave its process", e.msg)
            end
        end
    end
end

test("a handle and a message that a package has kept from its precompilation say so") do url
    depot = mktempdir()
    source = mkpath(joinpath(depot, "Camera", "src"))
    write(joinpath(source, "Camera.jl"), """
        module Camera
        using LibIPC
        const frames = Receiver("$url")
        const answers = Sender("$url")
        send(answers, "x")
        const first_frame = hold(recv(frames))
        end
        """)
    write(joinpath(depot, "Camera", "Project.toml"), """
        name = "Camera"
        uuid = "7a6a7a6a-1111-4222-8333-0123456789ab"
        [deps]
        LibIPC = "86d32f28-74dd-47b5-ba49-025a533529d6"
        """)
    code = """
        using Camera, LibIPC
        function words(f)
            try
                f()
                return "nothing is thrown"
            catch e
                return sprint(showerror, e)
            end
        end
        s = Sender("$url.other")  # so that the library is loaded
        for f in (() -> recv(Camera.frames), () -> recv(Camera.frames; timeout=0), () -> take!(Camera.frames),
                  () -> recv(Camera.frames, Int), () -> recv_blocking(Camera.frames), () -> isready(Camera.frames),
                  () -> wait(Camera.frames), () -> first(Camera.frames), () -> first(eachmessage(Camera.frames)),
                  () -> LibIPC.stats(Camera.frames), () -> LibIPC.interrupt(Camera.frames), () -> send(Camera.answers, "x"),
                  () -> put!(Camera.answers, 1), () -> send(identity, Camera.answers, 1), () -> flush(Camera.answers))
            occursin("opened by another process", words(f)) || println("wrong: ", words(f))
        end
        println(isopen(Camera.frames), close(Camera.frames), close(Camera.answers), Camera.frames)
        finalize(Camera.frames)
        println(words(() -> Camera.first_frame[1]))
        """
    environment = ("JULIA_DEPOT_PATH" => join((depot, DEPOT_PATH...), ":"),
                   "JULIA_LOAD_PATH" => join((joinpath(depot, "Camera"), depot, package, "@stdlib"), ":"))
    command = `$(Base.julia_cmd()) --startup-file=no --history-file=no --project=$package -e $code`
    for _ in 1:2  # the first one precompiles
        said = read(setenv(command, merge(Dict(ENV), Dict(environment))), String)
        @test startswith(said, "false00Receiver(\"$url\", closed)\nStaleMessageError: ")
    end
    rm(depot; recursive=true)
end
