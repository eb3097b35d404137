# answer.jl: answers messages of Float64s with their sum, to each who asks on a channel of its own.
using LibIPC

const answers = Dict{UInt64,Union{Sender,Nothing}}()    # by the id of who asks

function hang_up(id)
    asker = pop!(answers, id, nothing)
    asker === nothing || close(asker)
end

questions = Receiver("shm://questions"; onevent=(kind, id) -> hang_up(id))    # who asked has ended, or died
for question in eachmessage(questions)
    id = question.sender
    try
        asker = get!(() -> Sender("shm://answers.$id?capacity=1MiB"), answers, id)
        asker === nothing || send(asker, sum(reinterpret(Float64, question)); tag=question.tag, timeout=1)
    catch e
        e isa InterruptException && rethrow()
        @warn "no answers for $id any more" exception = e    # the others do not wait for one who takes none
        hang_up(id)
        answers[id] = nothing
    end
end
