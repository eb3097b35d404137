# Every example of every docstring runs, and gives what the comment beside it says.
isdefined(@__MODULE__, :held) || include("support.jl")

# (name, code) of each example.
function examples()
    found = Tuple{String,String}[]
    for (binding, multi) in Base.Docs.meta(LibIPC.Internals), (signature, doc) in multi.docs
        text = join(doc.text)
        for block in eachmatch(r"```julia\n(.*?)```"s, text)
            push!(found, ("$(binding.var) $signature", block.captures[1]))
        end
    end
    return sort!(found)
end

# Runs the code; where a comment follows an expression on its line, it is the value.
function run_example(code)
    place = Module()
    Core.eval(place, :(using LibIPC))
    at, checked = 1, 0
    while true
        expression, next = Meta.parse(code, at; greedy=true)
        expression === nothing && break
        value = Core.eval(place, expression)
        comment = match(r"^[ \t]*#[ \t]*(.*)", code[prevind(code, next):end])
        if comment === nothing
            comment = match(r"#[ \t]*([^\n]*)\n?$", code[at:prevind(code, next)])
        end
        if comment !== nothing
            @test value == Core.eval(place, Meta.parse(comment.captures[1]))
            checked += 1
        end
        at = next
    end
    for name in names(place; all=true)
        # From 1.12 on a binding that is younger than this function is not to be seen otherwise.
        x = Base.invokelatest(isdefined, place, name) ? Base.invokelatest(getfield, place, name) : nothing
        x isa Union{Sender,Receiver} && close(x)
    end
    return checked
end

test("examples are there") do url
    documented = Set(first(split(name)) for (name, _) in examples())
    for name in ("Receiver", "Sender", "Message", "recv", "recv!", "recv_blocking", "send", "eachmessage", "hold", "release",
                 "take!", "put!", "close", "stats", "links", "channels")
        @test name in documented
    end
end

for (name, code) in examples()
    test("example of $name") do url
        run_example(code)
    end
end
