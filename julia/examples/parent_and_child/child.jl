# Answers each message of Float64s on its standard input with their sum on its standard output, until its parent ends.
# Words are for standard error: standard output is the channel.
using LibIPC

questions, answers = Receiver("fd://0"), Sender("fd://1")
for message in eachmessage(questions; until=:end)
    send(answers, sum(reinterpret(Float64, message)); tag=message.tag)
end
close(answers; linger=Inf)    # until the pipe has taken all
