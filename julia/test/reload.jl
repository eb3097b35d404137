# Exchanging the library while handles are open.
isdefined(@__MODULE__, :held) || include("support.jl")

using FileWatching: FolderMonitor
using Logging: NullLogger, with_logger
close(FolderMonitor(folder))  # the first one makes Julia's own inotify instance, which stays

const this_build = LibIPC.library()
const next_build = get(ENV, "LIBIPC_NEXT_BUILD",
                       joinpath(dirname(dirname(@__DIR__)), "build", "tests", "process", "libipc_next.so"))
build(i) = isodd(i) ? next_build : this_build

# Lines of /proc/self/maps that are a library of ours.
loaded_copies() = count(line -> occursin(r"/libipc[^/]*\.so|libipc\.so", line), readlines("/proc/self/maps"))

test("another build goes in, and open handles and what they hold go on") do url
    Receiver(url) do r
        Sender(url) do s
            put!(s, "one")
            before = LibIPC.version()
            id = LibIPC.stats(r).id
            done = LibIPC.reload!(next_build)
            @test done.version == LibIPC.version() != before
            @test done.handles == 2 && 0 < done.pause < patience
            @test LibIPC.library() == next_build
            @test String(take!(r)) == "one"
            put!(s, "two")
            @test String(take!(r)) == "two"
            @test LibIPC.stats(r).id == id
            @test LibIPC.stats(r).messages == 2 && LibIPC.stats(s).messages == 2
            LibIPC.reload!(this_build)
            @test LibIPC.version() == before
        end
    end
end

test("pipes and sockets go over: a task that waits in them wakes for what comes afterwards, and nothing is lost") do _
    for url in ("pipe://$folder/fifo", "unix://$folder/socket", "tcp://127.0.0.1:0", "udp://127.0.0.1:0")
        Receiver(url) do r
            Sender(r.handle.url) do s
                put!(s, "one")
                one = hold(recv(r; timeout=patience))
                waiting = @async take!(r)
                @test waits(r)
                for i in 1:6
                    @test LibIPC.reload!(build(i)).handles == 2
                end
                @test !istaskdone(waiting)
                put!(s, "two")
                @test String(result(waiting)) == "two"
                @test String(one) == "one"
                release(one)
                put!(s, "three")
                LibIPC.reload!(next_build)
                @test String(result(@async take!(r))) == "three"
                @test LibIPC.stats(r).lost == 0 && LibIPC.stats(s).messages == 3
                LibIPC.reload!(this_build)
            end
        end
    end
end

test("a task that waits for room in a stream goes on in the new build") do _
    Receiver("unix://$folder/socket") do r
        Sender("unix://$folder/socket"; capacity=65536) do s
            sending = @async foreach(i -> put!(s, fill(UInt8(i), 20000)), 1:100)
            received = Int[]
            for i in 1:100
                i % 10 == 1 && LibIPC.reload!(build(i ÷ 10))
                push!(received, first(result(@async take!(r))))
            end
            result(sending)
            @test received == 1:100
        end
    end
    LibIPC.reload!(this_build)
end

test("messages that are held, and the view of the last one, stay good, and are released to the new build") do url
    Receiver(url) do r
        Sender(url) do s
            foreach(i -> send(s, [i]; tag=i), 1:5)
            first, second = hold(recv(r)), hold(recv(r))
            third = recv(r)
            release(second)
            LibIPC.reload!(next_build)
            @test reinterpret(Int, first) == [1] && reinterpret(Int, third) == [3]
            @test_throws StaleMessageError length(second)
            @test LibIPC.stats(r).held == 2
            fourth = recv(r)
            @test_throws StaleMessageError length(third)
            LibIPC.reload!(this_build)
            @test reinterpret(Int, first) == [1] && reinterpret(Int, fourth) == [4]
            release(first)
            release(fourth)
            @test LibIPC.stats(s).unreleased == 1
            @test isready(r)  # holds the fifth back
            LibIPC.reload!(next_build)
            @test only(reinterpret(Int, take!(r))) == 5
            @test LibIPC.stats(s).unreleased == 0
        end
    end
end

test("a message that is being filled is sent by the new build") do url
    Receiver(url) do r
        Sender(url) do s
            send(s, 8) do room
                room[1:4] .= 1
                LibIPC.reload!(next_build)
                room[5:8] .= 2
            end
            @test take!(r) == [1, 1, 1, 1, 2, 2, 2, 2]
        end
    end
end

test("a closed receiver's messages go over, also when it has been collected") do url
    s = Sender(url)
    function leave()
        r = Receiver(url)
        put!(s, "kept")
        m = hold(recv(r; timeout=patience))
        @test close(r) == 1
        return m
    end
    m = leave()
    LibIPC.reload!(next_build)
    @test String(m) == "kept"
    GC.gc()
    LibIPC.reload!(this_build)
    @test String(m) == "kept"
    release(m)
    @test eventually(() -> LibIPC.stats(s).unreleased == 0)
    close(s)
end

test("tasks that wait do not notice, and wake for what comes afterwards") do url
    for verb in (take!, wait, r -> recv(r, String), r -> recv(r; timeout=patience))
        Receiver(url) do r
            Sender(url; capacity=65536) do s
                waiting = @async verb(r)
                @test waits(r)
                foreach(i -> LibIPC.reload!(build(i)), 1:4)
                @test !istaskdone(waiting)
                put!(s, "x")
                result(waiting)
                isready(r) && take!(r)
            end
        end
    end
    Receiver(url) do r
        Sender(url; capacity=65536) do s
            putting = @async foreach(i -> put!(s, fill(UInt8(i), 30_000)), 1:5)
            flushing = @async flush(s)
            @test eventually(() -> LibIPC.stats(s).messages == 2)
            foreach(i -> LibIPC.reload!(build(i)), 1:4)
            @test !istaskdone(putting)
            @test [take!(r)[1] for _ in 1:5] == 1:5
            result(putting)
            result(flushing)
        end
    end
end

# m == proof(tag, size), without garbage that would count as memory left over.
is_proof(m, tag, size) = length(m) == size && all(i -> m[i] == (tag * 31 + (i - 1) * 7) % 256, 1:size)
take_any!(v) = (i = rand(1:length(v)); m = v[i]; deleteat!(v, i); m)
function resident()
    GC.gc()
    ccall(:malloc_trim, Cint, (Csize_t,), 0)
    return parse(Int, split(read("/proc/self/statm", String))[2]) * 4096
end

test("nothing is left of old copies after 200 reloads, with 0 lost and 0 doubled under full load") do url
    count, size = 100_000, 200
    back = url * ".back"
    checker = open(program("counterpart", "check", back, count))
    expect(checker, "ready")
    pauses = Float64[]
    Receiver(url) do r
        Sender(back; capacity=2^20) do s  # rings that grow and shrink would count as what is left
            sender = run(program("counterpart", "send", url * "?capacity=1MiB", count, size); wait=false)
            kept, next, wrong = Message[], 1, 0
            function forward(n)
                for _ in 1:n
                    m = recv(r; timeout=patience)
                    wrong += !(m.tag == m.sequence == next && is_proof(m, next, size) && !m.redelivered)
                    send(s, m; tag=next, timeout=patience)
                    next % 10 == 0 && push!(kept, hold(m))
                    length(kept) > 5 && release(take_any!(kept))
                    next += 1
                end
            end
            at_start = nothing
            for i in 1:220
                forward(400)
                push!(pauses, LibIPC.reload!(build(i)).pause)
                if i == 20
                    GC.gc()
                    at_start = (held(), loaded_copies(), resident())
                end
            end
            GC.gc()
            @test held() == at_start[1]
            @test loaded_copies() == at_start[2]
            @test resident() < at_start[3] + 4_000_000  # 20 kB a reload
            forward(count - next + 1)
            foreach(release, kept)
            @test wrong == 0
            wait(sender)
            @test success(sender)
        end
    end
    wait(checker)
    @test success(checker)
    sort!(pauses)
    get(ENV, "LIBIPC_SHOW_PAUSES", "") == "" ||
        println("pause of a reload, 3 handles: p50 $(pauses[end ÷ 2]) s, max $(pauses[end]) s")
end

test("a thread blocked in the library leaves it, and blocks in the new one") do url
    with_julia("""
        r = Receiver("$url")
        started = Threads.Atomic{Bool}(false)
        blocked = Threads.@spawn (started[] = true; recv_blocking(r; timeout=4 * patience))
        while !started[]  # without a yield, in which the first thread could take the task itself
            GC.safepoint()
        end
        for i in 1:10
            LibIPC.reload!(isodd(i) ? "$next_build" : "$this_build")
            sleep(rand() / 100)
        end
        println(istaskdone(blocked))
        Sender(s -> put!(s, "at last"), "$url")
        println(String(fetch(blocked)))
        """; options=`-t 2`) do process
        expect(process, "false")
        expect(process, "at last")
    end
end

test("reloading, opening, closing, collecting and using handles on several threads don't disturb each other") do url
    with_julia("""
        stop = Threads.Atomic{Bool}(false)
        opened = Threads.Atomic{Int}(0)
        passed = Threads.Atomic{Int}(0)
        churn = Threads.@spawn while !stop[]
            r = Receiver("$url.churn"); s = Sender("$url.churn")
            put!(s, "x"); String(take!(r)) == "x" || error("wrong")
            try LibIPC.channels(); LibIPC.stats(r) catch e; e isa LibIPC.ConcurrencyError || rethrow() end
            Threads.atomic_add!(opened, 1)
            opened[] % 3 == 0 ? (close(r); close(s)) : (r = s = nothing)
            GC.gc(opened[] % 30 == 0)  # a receiver that lies about lets no more than so many senders in
            yield()  # Julia 1.5 gives the first thread to whoever does not
        end
        stream = Threads.@spawn Receiver("$url") do r
            Sender("$url") do s
                while !stop[]
                    n = passed[] + 1
                    send(s, n; timeout=patience)
                    recv(r, Int; timeout=patience) == n || error("wrong")
                    Threads.atomic_add!(passed, 1)
                    yield()
                end
            end
        end
        using Logging
        global_logger(NullLogger())
        for i in 1:50
            LibIPC.reload!(isodd(i) ? "$next_build" : "$this_build")
            yield()
        end
        stop[] = true
        wait(churn); wait(stream)
        say(opened[] > 0 && passed[] > 0)
        """; options=`-t 3`) do process
        expect(process, "true")
    end
end

# ---- What can go wrong ----

# The words of the LibraryError that f throws, after which all is as before.
function refused(f)
    r, s = Receiver("shm://refused"), Sender("shm://refused")
    put!(s, "sent before")
    version, copies = LibIPC.version(), loaded_copies()
    e = try f(); nothing catch e; e end
    @test e isa LibIPC.LibraryError
    @test loaded_copies() == copies
    @test LibIPC.version() == version
    @test occursin("goes on with $version", sprint(showerror, e))
    @test String(take!(r)) == "sent before"
    put!(s, "sent afterwards")
    @test String(take!(r)) == "sent afterwards"
    close(s)
    close(r)
    return sprint(showerror, e)
end
refused_file(path) = refused(() -> LibIPC.reload!(path))

test("a file that is missing, cut, for another machine, or no library is refused, and the old one goes on") do url
    good = read(next_build)
    file = joinpath(folder, "libipc.so")
    @test occursin("there is no such file", refused_file(file))
    for size in (0, 3, 30, 100, length(good) ÷ 2, length(good) * 3 ÷ 4)
        write(file, good[1:size])
        text = refused_file(file)
        @test occursin("it ends after $size bytes", text) || size < 4 && occursin("first bytes", text)
        @test occursin(file, text)
    end
    write(file, [good[1:18]; 0xb7; 0x00; good[21:end]])  # AArch64
    @test occursin("another kind of processor", refused_file(file))
    write(file, "#!/bin/sh\necho a script\n")
    @test occursin("first bytes are not those of a library", refused_file(file))
    rm(file)
    @test occursin("there is no such file", refused_file(folder))
end

test("another library of that name, an ABI that does not fit, and missing functions are refused") do url
    for (name, words) in (("fake_foreign.so", "not this package's libipc"), ("fake_0.so", "version 0 of the C ABI"),
                          ("fake_99.so", "version 99 of the C ABI"), ("fake_1.so", "lacks ipc_strerror"))
        @test occursin(words, refused_file(joinpath(programs, name)))
    end
end

const failing = joinpath(programs, "failing_library.so")

test("when the k-th of n handles is not adopted, all go on in the old library, for every k") do url
    Receiver(url) do r
        senders = with_logger(() -> [Sender(url) for _ in 1:3], NullLogger())
        foreach(s -> put!(s, "first"), senders)
        m = hold(recv(r))
        waiting = @async (foreach(_ -> take!(r), 1:2); String(take!(r)))
        @test eventually(() -> LibIPC.stats(r).messages == 3)
        for k in 1:6  # these four, and two that refused() opens
            withenv("LIBIPC_REAL" => next_build, "FAIL_AT" => k) do
                @test occursin("handle $k is not adopted", refused_file(failing))
            end
            @test String(m) == "first"
        end
        @test !istaskdone(waiting)
        LibIPC.reload!(next_build)
        put!(senders[1], "second")
        @test result(waiting) == "second"
        release(m)
        foreach(close, senders)
    end
end

test("a build of another layout or handoff version, older or newer, is refused") do url
    for (at, what) in ((8, "handoff version"), (12, "memory layout")), version in (0, 99)
        withenv("LIBIPC_REAL" => next_build, "FAIL_AT" => 0, "VERSION_AT" => at, "VERSION" => version) do
            @test occursin(Regex("froze it has $what $version, this one has \\d+: they can't take"), refused_file(failing))
        end
    end
end

test("a call that does not leave the library in time keeps the old one") do url
    Receiver(url) do r
        r.handle.inside = Ptr{Cvoid}(1)  # some task, for ever
        text = refused(() -> LibIPC.Internals.exchange(next_build, 100_000_000))
        @test occursin("a call on $url does not leave", text)
        r.handle.inside = C_NULL
    end
end

test("a full disk, no place for a copy, and no descriptor for it keep the old library") do url
    withenv("TMPDIR" => "/nowhere") do
        @test occursin("can't be copied into /nowhere", refused_file(next_build))
    end
    # Beyond this limit a write fails as on a full disk; without the signal, which comes first.
    sigxfsz, ignored = 25, Ptr{Cvoid}(1)
    before = ccall(:signal, Ptr{Cvoid}, (Cint, Ptr{Cvoid}), sigxfsz, ignored)
    @test occursin("can't be copied into", refused(() -> with_limit(() -> LibIPC.reload!(next_build), fsize, 100_000)))
    ccall(:signal, Ptr{Cvoid}, (Cint, Ptr{Cvoid}), sigxfsz, before)
    reload_without_descriptors() = with_limit(() -> LibIPC.reload!(next_build), nofile, lowest_free_descriptor())
    @test occursin("can't be copied into", refused(reload_without_descriptors))
    @test LibIPC.reload!(next_build).handles == 0
end

# ---- Building, and by itself ----

# A build folder whose target `libipc` runs these commands of cmake.
function build_folder(name, commands...)
    source = mkpath(joinpath(folder, name))
    write(joinpath(source, "CMakeLists.txt"), """
        cmake_minimum_required(VERSION 3.21)
        project(reload NONE)
        add_custom_target(libipc $(join(("COMMAND " * c for c in commands), "\n    ")))
        """)
    build = joinpath(source, "build")
    run(pipeline(setenv(`cmake -G Ninja -S $source -B $build`, LibIPC.Internals.without_julias_libraries()); stdout=devnull))
    return build
end

# What f writes to stdout.
function shown(f)
    file = joinpath(folder, "shown")
    open(io -> redirect_stdout(f, io), file, "w")
    text = read(file, String)
    rm(file)
    return text
end

test("build=true builds first, and shows how it goes") do url
    LibIPC.reload!(this_build)
    build = build_folder("builds", "\${CMAKE_COMMAND} -E echo compiling ...",
                         "\${CMAKE_COMMAND} -E copy $next_build libipc.so.new",
                         "\${CMAKE_COMMAND} -E rename libipc.so.new libipc.so")
    file = joinpath(build, "libipc.so")
    Receiver(url) do r
        done = nothing
        text = shown(() -> done = LibIPC.reload!(file; build=true))
        @test occursin("compiling ...", text)
        @test done.handles == 1 && LibIPC.library() == file
        @test occursin("0.1.0.1", done.version)
        # From now on this file is the one.
        shown(() -> LibIPC.reload!(; build=true))
        Sender(s -> put!(s, "x"), url)
        @test String(take!(r)) == "x"
    end
    LibIPC.reload!(this_build)
    rm(dirname(build); recursive=true)
end

test("a build that fails is shown, and the old library goes on") do url
    build = build_folder("breaks", "\${CMAKE_COMMAND} -E echo \"x.cpp:1: error: no such thing\"",
                         "\${CMAKE_COMMAND} -E false")
    file = joinpath(build, "libipc.so")
    words = ""
    text = shown(() -> words = refused(() -> LibIPC.reload!(file; build=true)))
    @test occursin("error: no such thing", text)
    @test occursin("the build of $file failed", words) && occursin("error: no such thing", words)
    rm(dirname(build); recursive=true)
    @test occursin("no folder above it was made by cmake", refused(() -> LibIPC.reload!(joinpath(folder, "x"); build=true)))
end

test("autoreload! picks up a rebuilt library by itself, passes over one that is broken, and ends") do url
    file = joinpath(folder, "libipc.so")
    function replace_by(source)
        source isa String ? cp(source, file * ".new") : write(file * ".new", source)
        mv(file * ".new", file; force=true)
    end
    replace_by(realpath(this_build))
    LibIPC.reload!(file)
    old = LibIPC.version()
    logger = Test.TestLogger()
    logged(word) = any(l -> occursin(word, l.message), logger.logs)
    with_logger(() -> LibIPC.autoreload!(true), logger)
    follower = LibIPC.Internals.autoreload.task
    Receiver(url) do r
        waiting = @async String(take!(r))
        replace_by(realpath(next_build))
        @test eventually(() -> LibIPC.version() != old)
        @test eventually(() -> logged("LibIPC goes on with libipc 0.1.0.1"))
        replace_by(UInt8[1, 2, 3])
        @test eventually(() -> logged("not a library for this machine"))
        replace_by(realpath(this_build))
        @test eventually(() -> LibIPC.version() == old)
        Sender(s -> put!(s, "x"), url)
        @test result(waiting) == "x"
    end
    LibIPC.autoreload!(false)
    @test eventually(() -> istaskdone(follower))
    LibIPC.reload!(this_build)
    rm(file)
end
