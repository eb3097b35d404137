# What all test files share. Each of them also runs by itself: julia --project=julia julia/test/<file>.jl
using LibIPC, Test

const folder = mktempdir()
ENV["IPC_DIR"] = joinpath(folder, "ipc")

# A process that hangs is ended from outside; a task is waited for this long, in seconds, by how busy the machine is:
# see tests/patience.hpp.
const patience = let (last_minute, _, _, running) = split(read("/proc/loadavg", String))
    busiest = max(parse(Float64, last_minute), parse(Int, first(split(running, '/'))))
    20 * (1 + floor(Int, busiest / Sys.CPU_THREADS))
end

# What this process holds of ours: fds, mappings, names. Julia's own eventfds and sockets are there from the start.
function held()
    kinds = String[]
    for fd in readdir("/proc/self/fd")
        target = try readlink("/proc/self/fd/$fd") catch; continue end
        occursin(r"^(anon_inode:|socket:|/memfd:ipc)", target) && push!(kinds, replace(target, r"\d+" => ""))
    end
    append!(kinds, (last(split(line)) for line in eachline("/proc/self/maps") if occursin("memfd:ipc", line)))
    names = [joinpath(path, name) for (path, _, files) in walkdir(folder) for name in files]
    return sort!(append!(kinds, names))
end

# What the package keeps once the first handle was open is there from the start.
close(Receiver("shm://first.$(getpid())"))

# Runs f(url) as a test of that sentence, with a channel of its own, and checks that nothing is left.
function test(f, sentence)
    @testset "$sentence" begin
        before = held()
        f("shm://test.$(getpid()).$(hash(sentence) % 10000)")
        @test held() == before
    end
end

# The result of a task, if it ends in time.
function result(task::Task)
    timedwait(() -> istaskdone(task), Float64(patience)) == :ok || error("the task does not end")
    return fetch(task)
end

# What it throws, unwrapped.
function failure(task::Task)
    timedwait(() -> istaskdone(task), Float64(patience)) == :ok || error("the task does not end")
    try
        fetch(task)
        return nothing
    catch e
        while e isa TaskFailedException
            e = e.task.exception
        end
        return e
    end
end

eventually(condition) = timedwait(condition, Float64(patience); pollint=0.005) == :ok

# So many tasks wait in x: a verb may let others run before it does.
waits(x, tasks=1) = eventually(() -> x.handle.waits.tasks == tasks)

# A program that was built beside these tests. A Julia unpacked from another system's packages has its libraries on
# LD_LIBRARY_PATH, which programs of this system must not get.
const programs = get(ENV, "LIBIPC_TEST_PROGRAMS", joinpath(dirname(dirname(@__DIR__)), "build", "julia", "test"))
program(name, arguments...) =
    setenv(`$(joinpath(programs, name)) $(arguments)`, filter(p -> p.first != "LD_LIBRARY_PATH", Dict(ENV)))

# Byte i of the message with this tag, as counterpart.cpp has it.
proof(tag, size) = UInt8[(tag * 31 + (i - 1) * 7) % 256 for i in 1:size]

const package = dirname(@__DIR__)

# Runs f(process) with another Julia that runs `code` after `using LibIPC`, and waits until it has ended, well. What it says
# is read from process.
function with_julia(f, code; options=``)
    setup = """
        using LibIPC
        patience = $patience
        say(x) = (println(x); flush(stdout))
        """
    command = `$(Base.julia_cmd()) --startup-file=no --history-file=no --project=$package $options`
    process = open(`$command -e $(setup * code)`, "r+")
    # Julia says at SIGQUIT where each of its threads is, and ends.
    watchdog = Timer(_ -> kill(process, Base.SIGQUIT), 5 * patience)
    last_resort = Timer(_ -> kill(process, Base.SIGKILL), 6 * patience)
    try
        f(process)
        wait(process)
        @test success(process)
    finally
        foreach(close, (watchdog, last_resort))
        process_running(process) && kill(process, Base.SIGKILL)
        wait(process)
        close(process)
    end
end

expect(process, word) = (line = readline(process); @test line == word)

# The name that a killed process has left goes when somebody opens the channel next.
sweep(url) = close(Receiver(url))

first_of(iterable) = iterate(iterable)[1]

struct Limit
    soft::UInt64
    hard::UInt64
end
const fsize, nofile = 1, 7  # RLIMIT_...

# f() under a limit of this process.
function with_limit(f, which, soft)
    before = Ref(Limit(0, 0))
    ccall(:getrlimit, Cint, (Cint, Ptr{Limit}), which, before)
    ccall(:setrlimit, Cint, (Cint, Ref{Limit}), which, Ref(Limit(soft, before[].hard)))
    try
        return f()
    finally
        ccall(:setrlimit, Cint, (Cint, Ref{Limit}), which, before)
    end
end

function lowest_free_descriptor()
    fd = ccall(:dup, Cint, (Cint,), 0)
    ccall(:close, Cint, (Cint,), fd)
    return fd
end
