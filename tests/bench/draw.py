#!/usr/bin/env python3
"""python3 tests/bench/draw.py: draws results/results.json with gnuplot into results/*.svg, and puts its figures into
README.md, between the lines that say so. With --check it changes nothing, and fails if it would."""
import hashlib
import json
import math
import pathlib
import subprocess
import sys
import textwrap

here = pathlib.Path(__file__).resolve().parent
root = here.parent.parent
source = (here / "results/results.json").read_bytes()
results = json.loads(source)
records = {(r["part"], r["contender"], r["size"], r["n"]): r for r in results["records"]}


def figure(part, contender, size, n, name):
    r = records.get((part, contender, size, n))
    return r["figures"][name]["median"] if r and name in r["figures"] else None


def time_text(ns, digits=2):
    for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")):
        if ns >= unit or unit == 1:
            return f"{number(ns / unit, digits)} {name}"


def number(value, digits=2):
    """Two digits are more than a reader keeps, and about what stays from run to run."""
    if value is None:
        return "?"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if rounded >= 10 ** (digits - 1) else f"{rounded:g}"


# ---- Pictures. Their colours are told apart on white and on black. ----

GREY = "#7d7d7d"
COLOURS = {"libipc": "#e0482e", "floor": GREY, "eventfd": GREY, "boost": "#2a9d63", "pipe": "#3f83d6", "unix stream": "#a05fd0",
           "zeromq": "#b5851f", "tcp": "#1f9fae", "nng": "#c2578f", "libipc pipe": "#3f83d6", "libipc unix": "#a05fd0",
           "libipc tcp": "#1f9fae", "libipc udp": "#b5851f"}
NAMES = {"libipc": "libipc, shm://", "floor": "bare shared memory", "boost": "Boost message_queue", "pipe": "pipe",
         "unix stream": "Unix socket", "zeromq": "ZeroMQ", "tcp": "TCP", "nng": "nng", "libipc pipe": "libipc, pipe://",
         "libipc unix": "libipc, unix://", "libipc tcp": "libipc, tcp://", "libipc udp": "libipc, udp://",
         "eventfd": "bare eventfd", "line": "bare cache line, awake", "libipc spinning": "libipc, shm://, awake",
         "unix seqpacket": "Unix seqpacket", "posix mq": "POSIX mq"}


def gnuplot(name, script):
    # Text and axes are grey instead of black: they are read on a dark page, too.
    head = f"""set terminal svg size 760,{{height}} font 'sans-serif,13'
set border 3 lc rgb '{GREY}'
set tics nomirror textcolor rgb '{GREY}'
set key off
set grid lc rgb '{GREY}' lw 0.3 dt 3
"""
    height, script = script
    run = subprocess.run(["gnuplot"], input=head.format(height=height) + script, capture_output=True, text=True)
    if run.returncode or run.stderr.strip():
        sys.exit(f"gnuplot, {name}: {run.stderr}")
    svg = run.stdout.replace("</svg>", f"<!-- {stamp} -->\n</svg>")
    (here / f"results/{name}.svg").write_text(svg)


stamp = "drawn from results.json " + hashlib.sha256(source).hexdigest()[:16]


def label(text, x, y, colour, where="left"):
    return f"set label \"{text}\" at {x},{y} {where} textcolor rgb '{colour}' noenhanced\n"


def lines(title, contenders, points, xlabel, ylabel, xtics, xrange):
    """Lines over logarithmic axes, each with its name at its right end."""
    curves = [(c, p) for c in contenders if (p := points(c))]
    # The names keep a distance from each other: a line of text, of the twenty that the height has.
    every = [y for _, p in curves for _, y in p]
    least_gap = (max(every) / min(every)) ** (1 / 19)
    ends, last = {}, 0
    for c, p in sorted(curves, key=lambda cp: cp[1][-1][1]):
        last = ends[c] = max(p[-1][1], last * least_gap)
    low, high = min(every), max(max(every), last)
    script = f"""set title "{title}" textcolor rgb '{GREY}'
set logscale xy
set xlabel "{xlabel}" textcolor rgb '{GREY}'
set ylabel "{ylabel}" textcolor rgb '{GREY}'
set xrange [{xrange[0] * 0.99}:{xrange[1] * 1.01}]
set yrange [{low / 1.5}:{high * 1.5}]
set format y '%g'
set xtics ({xtics})
set rmargin 24
"""
    for c, p in curves:
        x = p[-1][0] * (xrange[1] / xrange[0]) ** 0.015
        script += label(NAMES[c], x, ends[c], COLOURS[c])
        script += f"${c.replace(' ', '_')} << END\n" + "".join(f"{x} {y}\n" for x, y in p) + "END\n"
    script += "plot " + ", ".join(
        f"${c.replace(' ', '_')} with linespoints pt 7 ps {0.3 if COLOURS[c] == GREY else 0.5} lw {3 if c == 'libipc' else 1.6} "
        f"{'dt 2 ' if COLOURS[c] == GREY else ''}lc rgb '{COLOURS[c]}'" for c, _ in curves)
    return 420, script + "\n"


def bytes_text(n):
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if n >= unit:
            return f"{n // unit} {name}"
    return f"{n} B"


def throughput(title, contenders):
    def points(c):
        ideal = {"floor", "bare ring"} if c == "floor" else {c}
        return sorted((size, r["figures"]["messages_per_s"]["median"] * size / 1e9)
                      for (part, contender, size, _), r in records.items()
                      if part == "throughput" and contender in ideal and "messages_per_s" in r["figures"])

    sizes = sorted({size for part, _, size, _ in records if part == "throughput"})
    tics = ", ".join(f"'{bytes_text(s)}' {s}" for s in sizes if math.log2(s) % 3 == 0 or len(sizes) < 8)
    return lines(title, contenders, points, "size of a message", "GB/s, written and read",
                 tics, (sizes[0], sizes[-1]))


def cpu():
    rates = [n for n in (100, 1000, 10000, 100000) if ("paced", "libipc", 8, n) in records]

    def points(c):
        return [(n, (figure("paced", c, 8, n, "cpu_sender_ns") + figure("paced", c, 8, n, "cpu_receiver_ns")) / 1e3)
                for n in rates if ("paced", c, 8, n) in records]

    tics = ", ".join(f"'{n:,}' {n}" for n in rates)
    return lines("CPU time of a message of 8 B, sender and receiver together", ["libipc", "eventfd", "pipe", "tcp", "zeromq", "boost"],
                 points, "messages a second", "microseconds", tics, (rates[0], rates[-1]))


def latency():
    """A bar for each: from p50, where the dot is, to p99."""
    rows = [("paced", "line", 8, 500000), ("paced", "libipc spinning", 8, 500000), None]
    rows += [("paced", c, 8, 1000) for c in ("eventfd", "libipc", "pipe", "unix stream", "tcp", "posix mq", "boost", "zeromq", "nng")]
    rows = [r for r in rows if r is None or r in records]
    script, data, y, tics, most = "", "", len(rows), [], 0
    for row in rows:
        y -= 1
        if row is None:
            continue
        part, c, size, n = row
        p50, p99 = (figure(part, c, size, n, f) for f in ("p50_ns", "p99_ns"))
        most = max(most, p99)
        colour = COLOURS["libipc"] if c.startswith("libipc") else GREY
        data += f"{p50} {y} {p99} {int(colour[1:], 16)}\n"
        tics.append(f"'{NAMES[c]}' {y}")
        script += label(f"{time_text(p50)}, p99 {time_text(p99)}", p99 * 1.15, y, colour)
    decades = ", ".join(f"'{time_text(10 ** d, 1)}' {10 ** d}" for d in range(1, 10))
    return 400, f"""set title "One-way latency of a message of 8 B, p50 to p99: both awake, and receiver asleep" textcolor rgb '{GREY}'
set logscale x
set xrange [20:{most * 60}]
set yrange [-0.7:{len(rows) - 0.3}]
set xtics ({decades})
set ytics ({", ".join(tics)}) noenhanced
set border 1
unset grid
set grid xtics lc rgb '{GREY}' lw 0.3 dt 3
{script}$rows << END
{data}END
plot $rows using 1:2:($3-$1):(0):4 with vectors nohead lw 7 lc rgb variable, $rows using 1:2:4 with points pt 7 ps 0.9 lc rgb variable
"""


PICTURES = {
    "throughput": lambda: throughput("Throughput from one process to another", ["floor", "libipc", "boost", "zeromq", "pipe", "unix stream", "tcp"]),
    "latency": latency,
    "cpu": cpu,
    "transports": lambda: throughput("Throughput of libipc's transports", ["libipc", "libipc pipe", "libipc unix", "libipc tcp", "libipc udp"]),
}

# ---- Words ----


def rate(contender, size):
    return figure("throughput", contender, size, 0, "messages_per_s")


def times(size, other):
    ours, theirs = rate("libipc", size), rate(other, size)
    return number(ours / theirs) if ours and theirs else "?"


def gigabytes(contender, size):
    r = rate(contender, size)
    return f"{number(r * size / 1e9)} GB/s" if r else "-"


def wakes(contender, n=1000):
    p50 = figure("paced", contender, 8, n, "p50_ns")
    return "?" if p50 is None else time_text(p50)


def cpu_time(contender, n):
    both = [figure("paced", contender, 8, n, f"cpu_{side}_ns") for side in ("sender", "receiver")]
    return "?" if None in both else time_text(sum(both))


def paragraph(text):
    return textwrap.fill(" ".join(text.split()), 124, break_long_words=False, break_on_hyphens=False)


def speed():
    m, noisy = results["machine"], results["noise"]["too_noisy"]
    minutes = max(1, round(results["run"]["took_s"] / 60))
    return "\n" + "\n\n".join([
        "![Throughput over the size of a message](tests/bench/results/throughput.svg)",
        paragraph(f"""Through shared memory, {number(rate('libipc', 64) / 1e6)} million messages of 64 B a second:
            {times(64, 'pipe')} times what a pipe takes, {times(64, 'zeromq')} times ZeroMQ, {times(64, 'boost')} times Boost's
            message queue. Messages of 64 KiB at {gigabytes('libipc', 65536)}, of 16 MiB at {gigabytes('libipc', 1 << 24)};
            bare shared memory, a flag for each message and no more, does {gigabytes('floor', 65536)} and
            {gigabytes('floor', 1 << 24)}."""),
        "![One-way latency](tests/bench/results/latency.svg)",
        paragraph(f"""A message is with a receiver that is awake after {wakes('libipc spinning', 500000)}, and with one that
            sleeps after {wakes('libipc')}; an eventfd, the least that Linux needs to wake a process, takes
            {wakes('eventfd')}, and ZeroMQ {wakes('zeromq')}."""),
        "![CPU time of a message over the rate of messages](tests/bench/results/cpu.svg)",
        paragraph(f"""Measured on {m['processor']}, {m['kernel'].split('-')[0]}, on {m['date']}, at commit {m['commit']}, in
            {results['run']['rounds']} rounds of all in turn, in {minutes} minutes; medians.
            {f'**The machine was not quiet: {noisy}.**' if noisy else ''} All that was measured, with memory, system calls,
            crowds and Julia's loops, is in [results.json](tests/bench/results/results.json), and so are the
            {len(results['bars'])} aims, of which {sum(b['met'] for b in results['bars'])} were met."""),
    ]) + "\n"


def transports():
    def row(name, contender, good, bad):
        lost = figure("throughput", contender, 64, 0, "lost_share")
        message = rate(contender, 64)
        return (f"| `{name}` | {number(message / 1e6)} M/s{f' ({100 * lost:.0f} % lost)' if lost is not None else ''} | "
                f"{gigabytes(contender, 16 << 10)} | {gigabytes(contender, 1 << 20)} | {wakes(contender)} | {cpu_time(contender, 1000)} | {good} | {bad} |")

    return "\n" + "\n".join([
        "| | 64 B | 16 KiB | 1 MiB | wakes in | CPU a message at 1,000/s | good at | bad at |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        row("shm://", "libipc", "everything on one machine", "leaving it"),
        row("pipe://", "libipc pipe", "small data, shell pipelines", "large messages: cut into pieces of 4 KiB"),
        row("unix://", "libipc unix", "one machine without shared memory; counts what is lost", "being copied twice"),
        row("tcp://", "libipc tcp", "other machines, in order, nothing lost", "latency"),
        row("udp://", "libipc udp", "other machines, the newest value soon", "bursts: what the receiver can't take is lost, and counted"),
    ]) + "\n\n![Throughput of the transports over the size of a message](tests/bench/results/transports.svg)\n"


def readme():
    text = (root / "README.md").read_text()
    for name, words in (("speed", speed()), ("transports", transports())):
        begin, end = f"<!-- {name}: written by tests/bench/draw.py -->\n", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            sys.exit(f"README.md has no place for {name}: lines {begin.strip()} and {end}")
        text = text[:text.index(begin) + len(begin)] + words + "\n" + text[text.index(end):]
    return text


def main():
    text = readme()
    if sys.argv[1:] == ["--check"]:
        wrong = [name for name in PICTURES if stamp not in (here / f"results/{name}.svg").read_text()]
        if text != (root / "README.md").read_text():
            wrong.append("README.md")
        if wrong:
            sys.exit(f"not of this results.json: {', '.join(wrong)}. Run python3 tests/bench/draw.py")
        return
    for name, script in PICTURES.items():
        gnuplot(name, script())
    (root / "README.md").write_text(text)


main()
