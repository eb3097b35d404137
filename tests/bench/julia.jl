# Julia's loops beside C++'s, interleaved: julia.cpp runs this.
#   julia julia.jl FLOOD OTHER_CPU SECONDS ROUNDS SIZES
# FLOOD is the program of flood.cpp. It is the other side, on OTHER_CPU; this process, and the C++ receiver that Julia's are
# compared with, run where they were put. Prints a line for each figure: part, loop, size, name, value, with tabs between.
using FileWatching, LibIPC, Statistics

const flood, other_cpu = ARGS[1:2]
const seconds, rounds = parse(Float64, ARGS[3]), parse(Int, ARGS[4])
const sizes = parse.(Int, split(ARGS[5], ','))

tell(fields...) = println(join(fields, '\t'))

# Programs of this system must not get the libraries of an unpacked Julia.
plain(command) = setenv(command, filter(p -> p.first != "LD_LIBRARY_PATH", Dict(ENV)))

const channel_number = Ref(0)
fresh_url() = "shm://bench.julia.$(getpid()).$(channel_number[] += 1)"

function with_flood(f, size)
    url = fresh_url()
    process = run(plain(`taskset -c $other_cpu $flood send $url $size`); wait=false)
    try
        return f(url)
    finally
        kill(process, Base.SIGKILL)
        wait(process)
    end
end

# ---- Receiving: messages per second, and bytes allocated a message ----

@inline function lines(m::DenseVector{UInt8})
    sum = UInt64(0)
    p = Ptr{UInt64}(pointer(m))
    i = 0
    while i <= length(m) - 8  # a range with a step costs a call to make
        sum += unsafe_load(p + i)
        i += 64
    end
    return sum
end

# Of `step(r)`, which receives one and returns a sum over it. The first two blocks are warm-up.
function receiving(step::F, size) where {F}
    with_flood(size) do url
        r = Receiver(url)
        sum = UInt64(0)
        count = 0
        start = UInt64(0)
        allocated = Int64(0)
        block = 0
        while true
            for _ in 1:256
                sum += step(r)
            end
            now = time_ns()
            block += 1
            if block <= 2
                start = now
                allocated = Base.gc_bytes()
                continue
            end
            count += 256
            now - start < seconds * 1e9 && continue
            result = (count * 1e9 / (now - start), (Base.gc_bytes() - allocated) / count)
            close(r)
            sum == 0 && error("nothing was read")
            return result
        end
    end
end
receiving(::Nothing, size) = with_flood(size) do url
    (parse(Float64, read(plain(`$flood receive $url $seconds`), String)), 0.0)
end

const buffer = zeros(UInt8, 1 << 24)

# What a copy costs that knows nothing of messages: new memory, and the bytes moved.
function bare_copy(r)
    m = recv(r)
    copied = Vector{UInt8}(undef, length(m))
    GC.@preserve copied unsafe_copyto!(pointer(copied), pointer(m), length(m))
    return lines(copied)
end

const receive_forms = [
    ("C++", nothing), ("recv", r -> lines(recv(r))), ("recv_blocking", r -> lines(recv_blocking(r))),
    ("recv!", r -> (n = recv!(buffer, r); GC.@preserve buffer unsafe_load(Ptr{UInt64}(pointer(buffer))) + n)),
    ("take!", r -> lines(take!(r))), ("bare copy", bare_copy)]

# ---- Sending, to a C++ receiver that measures ----

function sending(step::F, size) where {F}
    url = fresh_url()
    s = Sender(url; capacity=max(1 << 20, 4size))
    process = open(plain(`taskset -c $other_cpu $flood receive $url $seconds`))
    # What waits for room when the receiver has gone is ended by this.
    closer = @async (said = read(process, String); close(s); said)
    data = ones(UInt8, size)
    count = 0
    allocated = Int64(0)
    try
        while isopen(s)
            for _ in 1:256
                step(s, data)
            end
            count += 256
            count == 512 && (allocated = Base.gc_bytes())
            process_running(process) || yield()
        end
    catch e
        e isa InvalidStateException || rethrow()
    end
    bytes = (Base.gc_bytes() - allocated) / max(count - 512, 1)
    return parse(Float64, fetch(closer)), bytes
end

const send_forms = [("send", (s, data) -> send(s, data)),
                    ("send in place", (s, data) -> send(room -> fill!(room, 0x01), s, length(data))),
                    ("put!", (s, data) -> put!(s, data))]

# ---- What it costs to wake a task ----

# Both sides are this process's own: an eventfd that is written and waited for with FDWatcher, and a message sent and received.
function woken(wake, wait_for, n)
    times = Float64[]
    for _ in 1:n
        task = @async (wait_for(); time_ns())
        yield()  # it waits now
        start = time_ns()
        wake()
        push!(times, fetch(task) - start)
    end
    return median(times)
end

function waking(n)
    fd = ccall(:eventfd, Cint, (Cuint, Cint), 0, 0o4000)
    watcher = FDWatcher(RawFD(fd), true, false)
    one, word = Ref(UInt64(1)), Ref(UInt64(0))
    raw = woken(() -> ccall(:write, Cssize_t, (Cint, Ref{UInt64}, Csize_t), fd, one, 8),
                () -> (wait(watcher); ccall(:read, Cssize_t, (Cint, Ref{UInt64}, Csize_t), fd, word, 8)), n)
    close(watcher)
    ccall(:close, Cint, (Cint,), fd)
    url = fresh_url()
    s, r = Sender(url), Receiver(url)
    ours = woken(() -> send(s, UInt64(1)), () -> recv(r, UInt64), n)
    close(s)
    close(r)
    return raw, ours
end

function main()
    for round in 0:rounds, size in sizes  # round 0 compiles
        for (part, measure, forms) in [("julia receive", receiving, receive_forms), ("julia send", sending, send_forms)],
            (form, step) in forms

            rate, bytes = measure(step, size)
            round == 0 && continue
            tell(part, form, size, "messages_per_s", rate)
            tell(part, form, size, "allocated_bytes", bytes)
        end
        size == sizes[1] || continue
        raw, ours = waking(1000)
        round == 0 && continue
        tell("julia wake", "eventfd", 8, "p50_ns", raw)
        tell("julia wake", "recv", 8, "p50_ns", ours)
    end
end

main()
