# What all test files share. Each of them also runs by itself: julia --project=julia julia/test/<file>.jl
using LibIPC, Test

const folder = mktempdir()
ENV["IPC_DIR"] = joinpath(folder, "ipc")

# A process that hangs is ended from outside; a task is waited for this long, in seconds.
const patience = 20

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
