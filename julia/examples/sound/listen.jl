# The Julia session of demo.sh. It waits in receive, shows the sound that senders stream into it, compares every frame with
# the files, and sends it back; during one stream it exchanges the library. Then it takes messages at full speed. It is
# never restarted.
#   listen.jl REPORT LIBRARY FILE.wav...
# REPORT: a file that gets a line for each step that is done: the step, this process, a value set when it started, and what
# there is to say: mostly the build of the sender. LIBRARY: the one to build and to go on with.

using LibIPC

include("meter.jl")

const frame_samples = 480
const report_file, library, files = ARGS[1], ARGS[2], ARGS[3:end]
const value = rand(UInt32)

report(step, what="-") = (flush(stdout); open(io -> println(io, "$step $(getpid()) $value $what"), report_file, "a"))

function read_wav(path)
    bytes = read(path)
    at = 13
    while at + 7 <= length(bytes)
        size = Int(only(reinterpret(UInt32, bytes[at+4:at+7])))
        bytes[at:at+3] == b"data" && return reinterpret(Int16, bytes[at+8:at+7+size÷2*2])
        at += 8 + size + size % 2
    end
    error("$path has no sound in it")
end

# The build id that the linker wrote into the program that a process runs.
function build_of(pid)
    program = read("/proc/$pid/exe")
    note = UInt8[4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0]  # an ELF note that holds a build id of 20 bytes
    at = findfirst(i -> view(program, i:i+15) == note, 1:length(program)-35)
    return at === nothing ? "none" : bytes2hex(program[at+16:at+35])
end

function cpu_seconds()
    time = zeros(Int, 2)
    ccall(:clock_gettime, Cint, (Cint, Ptr{Int}), 2, time)  # CLOCK_PROCESS_CPUTIME_ID: all threads
    return time[1] + time[2] / 1e9
end

commas(n) = replace(string(n), r"(?<=\d)(?=(\d{3})+$)" => ",")
function fixed(x, digits)
    text = string(round(x; digits=digits))
    return text * "0"^(digits - length(text) + findfirst('.', text))
end
rate_of(x) = x < 100 ? fixed(x, 1) : commas(round(Int, x))

const table = [["", "messages", "bytes", "MB/s", "latency p50", "p99"]]
wrong_total = 0

function row(what, messages, bytes, seconds, latencies)
    sort!(latencies)
    at(p) = isempty(latencies) ? "-" : fixed(latencies[ceil(Int, p * end)] / 1e3, 1) * " µs"
    push!(table, [what, commas(messages), commas(bytes), rate_of(bytes / 1e6 / seconds), at(0.5), at(0.99)])
end

# Whether the message is the frame that starts behind so many samples.
function is_right(m, samples, from)
    frame = reinterpret(Int16, m)
    right = view(samples, from+1:min(from + frame_samples, length(samples)))
    return length(frame) == length(right) && all(i -> frame[i] == div(right[i] * Int(m.tag), 256), eachindex(right))
end

# One stream of sound, from the first frame to the sender's end.
function listen(receiver, samples)
    meter = Meter()
    frames = bytes = wrong = gain = 0
    build = ""
    began = 0.0
    cpu, waiting = cpu_seconds(), time()
    idle = (0.0, 0.0)
    Sender("shm://sound-back") do back
        for m in eachmessage(receiver; until=:end)
            if frames == 0
                began = time()
                idle = (cpu_seconds() - cpu, began - waiting)
                pid = only(link.pid for link in LibIPC.links(receiver) if link.peer == m.sender)
                build = build_of(pid)
                gain = Int(m.tag)
                println("Sender: process $pid, build $(build[1:16]), gain $(fixed(gain / 256, 2))")
            end
            from = Int(m.sequence - 1) * frame_samples
            wrong += !is_right(m, samples, from)
            frames += 1
            bytes += length(m)
            send(back, m; tag=m.tag)
            feed!(meter, reinterpret(Int16, m), m.tag / 256)
        end
        close(back; linger=10)
    end
    expected = cld(length(samples), frame_samples)
    println("Julia compared $frames frames of $expected with the files: $wrong wrong.")
    global wrong_total += wrong + abs(frames - expected)
    row("sound, gain $(fixed(gain / 256, 2))", frames, bytes, time() - began, Int[])
    return build, idle
end

# One stream of the sound again and again, in which the library is built anew and exchanged, and the sender is killed;
# another one goes on with the frame behind the last that came, to the end of the sound.
function listen_through_all(receiver, sound)
    times = Int[]  # that each frame came
    first = wrong = bytes = deaths = 0
    samples, exchange = sound, nothing
    began = 0.0
    Sender("shm://sound-back") do back
        meter = Meter(false)  # the build's words stand between its lines
        function take(m)
            if exchange === nothing
                began = time()
                exchange = @async exchange_library()
            end
            at = first + Int(m.sequence)
            append!(times, zeros(Int, max(at - length(times), 0)))
            times[at] += 1
            at * frame_samples <= length(samples) || deaths > 0 || (samples = [samples; sound])
            wrong += !is_right(m, samples, (at - 1) * frame_samples)
            bytes += length(m)
            send(back, m; tag=m.tag)
            feed!(meter, reinterpret(Int16, m), m.tag / 256)
        end
        while true
            try
                foreach(take, eachmessage(receiver; until=:end))
                break
            catch e
                e isa SenderDied || rethrow()
                first = sum(times)
                deaths += 1
                again = cld((first + 100) * frame_samples, length(sound))
                samples = repeat(sound, again)
                report("died", "$first $again")
            end
        end
        close(back; linger=10)
    end
    seconds = time() - began
    wait(exchange)
    expected = cld(length(samples), frame_samples)
    lost, doubled = expected - count(!iszero, times), sum(n -> max(n - 1, 0), times)
    global wrong_total += wrong + abs(lost) + doubled + abs(deaths - 1)
    row("sound, all exchanged", sum(times), bytes, seconds, Int[])
    return (lost=lost, doubled=doubled, wrong=wrong)
end

function exchange_library()
    done = LibIPC.reload!(library; build=true)
    println("Julia goes on with $(done.version). $(done.handles) handles went over; they stood still for ",
            "$(fixed(done.pause * 1e6, 1)) µs.")
    report("exchanged", match(r"[0-9a-f]{16,}", done.version).match)
end

# One stream of speed_sender.
function take_all(receiver, what)
    messages = bytes = wrong = 0
    began = UInt64(0)
    latencies = sizehint!(Int[], 10_000_000)
    for m in eachmessage(receiver; until=:end)
        messages == 0 && (began = m.tag)
        push!(latencies, Int(time_ns()) - Int(m.tag))
        words = reinterpret(UInt64, m)
        wrong += sum(words) != length(words) * (m.sequence % 0x100 * 0x0101010101010101)
        messages += 1
        bytes += length(m)
    end
    seconds = (time_ns() - began) / 1e9
    println("$what: $(commas(messages)) messages in $(fixed(seconds, 1)) s, $wrong wrong.")
    global wrong_total += wrong
    return messages, bytes, seconds, latencies
end

function main()
    samples = reduce(vcat, read_wav.(files))
    receiver = Receiver("shm://sound")
    println("Julia $VERSION, process $(getpid()), waits in receive. A value set in it now: $value")
    report("ready")
    build, _ = listen(receiver, samples)
    report("first", build)
    build, idle = listen(receiver, samples)
    report("second", build)
    println("Julia uses $(LibIPC.version())")
    survived = listen_through_all(receiver, samples)
    report("third")
    close(receiver)

    speed = Receiver("shm://speed")
    for (size, words) in ((960, "960 B"), (1 << 20, "1 MiB"))
        messages, bytes, seconds, _ = take_all(speed, "$words, as fast as they go")
        report("fast-$size")
        _, _, _, latencies = take_all(speed, "$words, one each ms")
        row("$words", messages, bytes, seconds, latencies)
        report("paced-$size")
    end

    println()
    widths = [maximum(length(line[i]) for line in table) for i in 1:6]
    for line in table
        println(rpad(line[1], widths[1]), "  ", join((lpad(line[i], widths[i]) for i in 2:6), "  "))
    end
    println("Latency: one way, one message each ms; Julia sleeps in between.")
    println("\nWith the library exchanged, and the sender killed: lost $(survived.lost), duplicated $(survived.doubled), ",
            "wrong $(survived.wrong)")
    println("CPU while idle: $(fixed(idle[1], 3)) s in $(fixed(idle[2], 1)) s of waiting")
    exit(wrong_total == 0 ? 0 : 1)
end

main()
