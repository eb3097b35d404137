# What a user finds at the prompt.
isdefined(@__MODULE__, :held) || include("support.jl")
using InteractiveUtils, REPL

# What `LibIPC.` and tab offer.
completed(line) = map(REPL.REPLCompletions.completion_text, REPL.REPLCompletions.completions(line, length(line))[1])
offered() = filter(name -> !(name in (:eval, :include, :LibIPC, :Internals)), Symbol.(completed("LibIPC.")))
documented(name) = !occursin("No documentation found", sprint(show, MIME"text/plain"(), Docs.doc(Docs.Binding(LibIPC, name))))

test("tab offers what users need, and nothing else") do url
    @test sort(offered()) == sort([
        :Receiver, :Sender, :Message, :recv, :recv!, :recv_blocking, :send, :eachmessage, :hold, :release,
        :IPCError, :TimeoutError, :StaleMessageError, :SenderDied, :ConcurrencyError, :LibraryError,
        :channels, :links, :stats, :url, :interrupt, :reload!, :autoreload!, :library!, :library, :version])
end

test("tab completes what is not exported, too") do url
    @test completed("LibIPC.st") == ["stats"]
end

test("all that is offered has a docstring") do url
    @test isempty(filter(!documented, offered()))
end

test("?LibIPC names every verb") do url
    words = string(Docs.doc(LibIPC))
    @test isempty(filter(name -> !occursin(String(name), words), offered()))
end

test("apropos finds what users look for") do url
    for sought in ("newest", "shared memory", "time-out", "reload")
        @test occursin("LibIPC", sprint(apropos, sought))
    end
end
