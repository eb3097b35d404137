# Level and spectrum of sound: redrawn in place on a terminal, elsewhere a plain line every half second.

const rate = 48_000
const window = 1024   # samples that a spectrum is made of: 21 ms
const bands = 60      # columns
const rows = 6
const edges = exp10.(range(log10(80), log10(12_000); length=bands + 1))  # Hz

mutable struct Meter
    recent::Vector{Float64}  # the last `window` samples, from -1 to 1
    frames::Int
    drawn::Bool
    inplace::Bool
end
Meter(inplace=stdout isa Base.TTY && displaysize(stdout)[2] > bands + 4) = Meter(zeros(window), 0, false, inplace)

function feed!(meter::Meter, frame, gain)
    n = length(frame)
    copyto!(meter.recent, 1, meter.recent, n + 1, window - n)
    meter.recent[end-n+1:end] .= frame ./ 32768
    meter.frames += 1
    meter.frames % (meter.inplace ? 4 : 50) == 0 && draw(meter, gain)
    return
end

function fft(x)
    n = length(x)
    n == 1 && return x
    even, odd = fft(x[1:2:end]), fft(x[2:2:end])
    odd = odd .* cis.(-2pi .* (0:n÷2-1) ./ n)
    return [even .+ odd; even .- odd]
end

decibel(amplitude) = max(20 * log10(amplitude + 1e-9), -90.0)

# The loudest of the frequencies in each band, in dB.
function spectrum(samples)
    hann = sin.(pi .* (0:window-1) ./ window) .^ 2
    amplitudes = abs.(fft(complex.(samples .* hann))[1:window÷2]) .* (4 / window)
    bin(hz) = clamp(round(Int, hz / rate * window) + 1, 2, window ÷ 2)
    return [decibel(maximum(view(amplitudes, bin(edges[i]):bin(edges[i+1])))) for i in 1:bands]
end

const eighths = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']

# -80 dB is 0, -10 dB is all `rows`; in eighths.
height(dB, rows) = round(Int, clamp((dB + 80) / 70, 0, 1) * 8 * rows)

function draw(meter::Meter, gain)
    level = decibel(sqrt(sum(abs2, meter.recent) / window))
    dBs = spectrum(meter.recent)
    time = lpad(string(round(meter.frames / 100; digits=1)), 5)
    words = "$time s   gain $(rpad(gain, 4, "0"))   level $(lpad(round(Int, level), 3)) dB"
    if !meter.inplace
        println(words, "   80 Hz ", join(eighths[1+height(dB, 1)] for dB in dBs[1:2:end]), " 12 kHz")
        return flush(stdout)
    end
    lines = [words * "  " * rpad("█"^height(level, 3), 24)]
    for row in rows-1:-1:0
        push!(lines, "  " * join(eighths[1+clamp(height(dB, rows) - 8 * row, 0, 8)] for dB in dBs))
    end
    push!(lines, "  80 Hz" * lpad("12 kHz", bands - 5))
    print(meter.drawn ? "\e[$(length(lines))A" : "", join(string.("\r", lines, "\e[K\n")))
    meter.drawn = true
    return
end
