# Julia's loops beside C++'s, interleaved: see julia.sh.
#   julia julia.jl FLOOD SENDER_CPU SECONDS ROUNDS
# FLOOD is the program of flood.cpp. It sends from SENDER_CPU; this process, and the C++ receiver that it starts, run where
# they were put.
using FileWatching, LibIPC, Printf, Statistics

const flood, sender_cpu = ARGS[1:2]
const seconds, rounds = parse(Float64, ARGS[3]), parse(Int, ARGS[4])

# Programs of this system must not get the libraries of an unpacked Julia.
plain(command) = setenv(command, filter(p -> p.first != "LD_LIBRARY_PATH", Dict(ENV)))

const channel_number = Ref(0)
function with_flood(f, size)
    url = "shm://bench.julia.$(getpid()).$(channel_number[] += 1)"
    process = run(plain(`taskset -c $sender_cpu $flood send $url $size`); wait=false)
    try
        return f(url)
    finally
        kill(process, Base.SIGKILL)
        wait(process)
    end
end

@inline function lines(m::DenseVector{UInt8})
    sum = UInt64(0)
    p = Ptr{UInt64}(pointer(m))
    for i in 0:64:(length(m) - 8)
        sum += unsafe_load(p + i)
    end
    return sum
end

# Messages per second and bytes allocated per message of `step(r)`, which receives one and returns a sum over it. The first
# two blocks are warm-up.
function rate(step::F, url) where {F}
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
        else
            count += 256
        end
        now - start < seconds * 1e9 || block <= 2 || begin
            result = (count * 1e9 / (now - start), (Base.gc_bytes() - allocated) / count)
            close(r)
            sum == 0 && error("nothing was read")
            return result
        end
    end
end

const buffer = zeros(UInt8, 1 << 24)

zero_copy(r) = lines(recv(r))
blocking(r) = lines(recv_blocking(r))
into_buffer(r) = (n = recv!(buffer, r); GC.@preserve buffer unsafe_load(Ptr{UInt64}(pointer(buffer))) + n)
owned(r) = lines(take!(r))
copied(r) = lines(copy(recv(r)))

const forms = [("C++ receive", nothing), ("recv", zero_copy), ("recv_blocking", blocking), ("recv!", into_buffer),
               ("take!", owned), ("copy(recv)", copied)]

measure(::Nothing, url) = (parse(Float64, read(plain(`$flood receive $url $seconds`), String)), 0.0)
measure(step, url) = rate(step, url)

# The one-way cost of being woken: a C++ thread would do, but the two sides of a Julia task's sleep are what is compared, so
# both are this process's own: an eventfd that is written and waited for with FDWatcher, and a message sent and received.
function round_trips(wake, wait_for, n)
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

function task_latency(n)
    fd = ccall(:eventfd, Cint, (Cuint, Cint), 0, 0o4000)
    watcher = FDWatcher(RawFD(fd), true, false)
    one, word = Ref(UInt64(1)), Ref(UInt64(0))
    raw = round_trips(() -> ccall(:write, Cssize_t, (Cint, Ref{UInt64}, Csize_t), fd, one, 8),
                      () -> (wait(watcher); ccall(:read, Cssize_t, (Cint, Ref{UInt64}, Csize_t), fd, word, 8)), n)
    close(watcher)
    ccall(:close, Cint, (Cint,), fd)
    url = "shm://bench.julia.$(getpid())"
    s, r = Sender(url), Receiver(url)
    ours = round_trips(() -> send(s, UInt64(1)), () -> recv(r, UInt64), n)
    close(s)
    close(r)
    return raw, ours
end

function main()
    sizes = [64, 1024, 65536, 1 << 20]
    found = Dict((form, size) => (Float64[], Float64[]) for (form, _) in forms for size in sizes)
    latencies = Tuple{Float64,Float64}[]
    println(stderr, "about ", ceil(Int, (rounds + 1) * length(sizes) * length(forms) * (seconds + 0.2)), " s")
    for round in 0:rounds  # the first compiles
        for size in sizes, (form, step) in forms
            stderr isa Base.TTY && print(stderr, "\r\e[K round $round of $rounds: $form, $size B")
            rate, bytes = with_flood(url -> measure(step, url), size)
            round == 0 && continue
            push!(found[form, size][1], rate)
            push!(found[form, size][2], bytes)
        end
        push!(latencies, task_latency(1000))
    end
    stderr isa Base.TTY && print(stderr, "\r\e[K")
    println("Messages received from one C++ sender, medians of $rounds rounds of $seconds s, interleaved; Julia $VERSION, ",
            LibIPC.version())
    println("    size  loop               messages/s        MB/s    of C++'s [quartiles]   bytes allocated/message")
    for size in sizes
        base = found["C++ receive", size][1]
        for (form, _) in forms
            rates, bytes = found[form, size]
            ratio = quantile(rates ./ base, [0.5, 0.25, 0.75])
            @printf("%8d  %-15s %13.0f  %10.1f    %5.2f [%.2f, %.2f]    %12.1f\n", size, form, median(rates),
                    median(rates) * size / 1e6, ratio..., maximum(bytes))
        end
    end
    raw, ours = median(first.(latencies[2:end])), median(last.(latencies[2:end]))
    ratios = quantile([o / r for (r, o) in latencies[2:end]], [0.5, 0.25, 0.75])
    @printf("\nA task that sleeps is woken, p50: eventfd and FDWatcher %.1f us, send and recv %.1f us, ratio %.2f [%.2f, %.2f]\n",
            raw / 1e3, ours / 1e3, ratios...)
end

main()
