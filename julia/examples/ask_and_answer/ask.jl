# ask.jl
using LibIPC

questions = Sender("shm://questions")
answers = Receiver("shm://answers.$(LibIPC.stats(questions).id)")    # for this asker alone
for n in 1:3
    send(questions, Float64[n, 10n]; tag=n)
    flush(questions)    # until a server, this one or the next, has answered it
    answer = recv(answers)
    while answer.tag != n    # a server that was started again may answer what was answered before
        answer = recv(answers)
    end
    println("question ", n, ": ", reinterpret(Float64, answer)[1])
end
