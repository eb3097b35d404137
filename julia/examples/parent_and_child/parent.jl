# Starts a child, and asks it over one pipe what it answers over another.
#     julia --project=julia parent.jl COMMAND...
using LibIPC

const O_CLOEXEC = 0o2000000

# Two ends of a pipe, to read from and to write to. No other child gets them.
function new_pipe()
    ends = zeros(Cint, 2)
    systemerror("pipe", ccall(:pipe2, Cint, (Ptr{Cint}, Cint), ends, O_CLOEXEC) != 0)
    return ends
end

(child_in, to_child), (from_child, child_out) = new_pipe(), new_pipe()
child = run(pipeline(Cmd(ARGS); stdin=RawFD(child_in), stdout=RawFD(child_out)); wait=false)
for fd in (child_in, child_out)    # the child's: kept open here, they would hide its end
    ccall(:close, Cint, (Cint,), fd)
end

questions, answers = Sender("fd://$to_child"), Receiver("fd://$from_child")
for n in 1:3
    send(questions, Float64[n, 10n]; tag=n)
end
close(questions; linger=Inf)    # its end: the child ends, too
for answer in eachmessage(answers; until=:end)
    println("question ", answer.tag, ": ", only(reinterpret(Float64, answer)))
end
wait(child)
println("the child has ended")
