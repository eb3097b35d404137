# What is said at exit of messages that nobody will receive.
isdefined(@__MODULE__, :held) || include("support.jl")

function warned(code)
    said = IOBuffer()
    command = `$(Base.julia_cmd()) --startup-file=no --history-file=no --project=$package -e "using LibIPC; $code"`
    run(pipeline(command; stderr=said))
    return String(take!(said))
end

test("a process that exits says how many messages nobody will receive") do url
    said = warned("""s = Sender("$url"); foreach(i -> put!(s, i), 1:3)""")
    @test occursin("3 messages on $url are lost: no receiver is connected", said)
end

test("it does so also where its own receiver has not received them, whichever was opened first") do url
    for opened in ("s, r = Sender(u), Receiver(u)", "r, s = Receiver(u), Sender(u)")
        said = warned("""u = "$url"; $opened; foreach(i -> put!(s, i), 1:5); take!(r)""")
        @test occursin("4 messages on $url are lost", said)
    end
end

test("a sender that is collected says how many messages nobody will receive") do url
    said = warned("""
        open_and_forget() = (s = Sender("$url"); foreach(i -> put!(s, i), 1:3); nothing)
        open_and_forget()
        GC.gc()
        isempty(LibIPC.Internals.open_handles()) || error("it is open still")
        """)
    @test occursin("3 messages on $url are lost", said)
end

test("it says nothing of messages that a receiver will get, or has got") do url
    Receiver(url) do r
        code = """s = Sender("$url"); foreach(i -> put!(s, i), 1:3)"""
        @test warned(code) == ""
        @test [recv(r, Int; timeout=patience) for _ in 1:3] == 1:3
    end
end
