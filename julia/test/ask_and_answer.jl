# The examples in which each asker gets its answers on a channel of its own, with many askers at once.
isdefined(@__MODULE__, :held) || include("support.jl")

const pattern = joinpath(package, "examples", "ask_and_answer")
example(file) = `env LD_LIBRARY_PATH=$(get(ENV, "LD_LIBRARY_PATH", "")) $(Base.julia_cmd()) --startup-file=no
                  --history-file=no --project=$package $(joinpath(pattern, file))`

# Asks from `first` on, a million times. Reads so many answers, and kills it; or else lets it ask no more than that.
function ask(first, answers, killed)
    asker = open(program("ask", first, killed ? first + 1_000_000 : first + answers - 1))
    watchdog = Timer(_ -> kill(asker, Base.SIGKILL), 3 * patience)
    right = all(n -> readline(asker) == "question $n: $(11n).0", first:first+answers-1)
    killed && kill(asker, Base.SIGKILL)
    rest = readlines(asker)
    wait(asker)
    close(watchdog)
    return right && (killed || isempty(rest) && success(asker))
end

answer_channels() = filter(c -> c.role === :sender && startswith(c.url, "shm://answers."), LibIPC.channels())

# What the killed have left goes when somebody opens the channel next.
sweep_all() = foreach(name -> sweep("shm://$name"), filter(startswith(r"answers|questions"), readdir(ENV["IPC_DIR"])))

for (kind, server) in ("C++" => program("answer"), "Julia" => example("answer.jl"))
    test("twenty that ask a $kind server, come, go and are killed, get their own answers and no others") do _
        process = open(server)
        try
            each = asyncmap(n -> [ask(10_000n + 100k, 5 + n % 7, isodd(n + k)) for k in 1:2], 1:20; ntasks=20)
            @test each == [[true, true] for _ in 1:20]
            @test process_running(process)
            @test eventually(() -> isempty(filter(c -> c.pid == getpid(process), answer_channels())))
        finally
            kill(process, Base.SIGKILL)
            wait(process)
            close(process)
            sweep_all()
        end
    end
    test("a $kind server that is killed and started again answers what had not been answered") do _
        process = open(server)
        asker = open(program("ask", 1, 400))
        watchdog = Timer(_ -> kill(asker, Base.SIGKILL), 3 * patience)
        try
            @test readline(asker) == "question 1: 11.0"
            kill(process, Base.SIGKILL)
            wait(process)
            close(process)
            process = open(server)
            @test readlines(asker) == ["question $n: $(11n).0" for n in 2:400]
            wait(asker)
            @test success(asker)
        finally
            foreach(p -> kill(p, Base.SIGKILL), (process, asker))
            foreach(wait, (process, asker))
            foreach(close, (process, asker, watchdog))
            sweep_all()
        end
    end
end

for (kind, asker) in ("C++" => program("ask", 1, 3), "Julia" => example("ask.jl"))
    test("a $kind asker takes no answer for that of another question") do _
        questions = Receiver("shm://questions")
        process = open(asker)
        watchdog = Timer(_ -> kill(process, Base.SIGKILL), 3 * patience)
        answers = nothing
        try
            for n in 1:3
                recv(questions; timeout=3 * patience) do question
                    answers === nothing && (answers = Sender("shm://answers.$(question.sender)"))
                    for _ in 1:2    # as a server does that is killed before it has given the question back, and its successor
                        send(answers, sum(reinterpret(Float64, question)); tag=question.tag, timeout=patience)
                    end
                end
            end
            @test readlines(process) == ["question $n: $(11n).0" for n in 1:3]
        finally
            kill(process, Base.SIGKILL)
            wait(process)
            foreach(close, (process, watchdog, questions))
            answers === nothing || close(answers)
            sweep_all()
        end
    end
end
