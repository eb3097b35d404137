# ask.jl
using LibIPC

questions = Sender("shm://questions")
answers = Receiver("shm://answers.$(LibIPC.stats(questions).id)")    # for this asker alone
for n in 1:3
    send(questions, Float64[n, 10n]; tag=n)
    flush(questions)    # until a server, this one or the next, has answered it
    println("question ", n, ": ", recv(answers, Float64))
end
