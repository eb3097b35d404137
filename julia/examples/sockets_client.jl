# A sender to tcp:// in Julia's own Sockets, without libipc: what src/stream/framing.hpp describes, as code.
#     julia julia/examples/sockets_client.jl PORT WORD...
# sends each word as a message to Receiver("tcp://127.0.0.1:PORT"), and waits until all are released.
using Sockets

const MESSAGE, END, HELLO, ANSWER, RELEASED, ASK = 0x01:0x06
number(x) = htol(UInt64(x))

put(io, kind; payload=UInt8[], tag=0, sequence=0) =
    write(io, "ipcf", 0x02, kind, 0x0000, number(sizeof(payload)), number(tag), number(sequence), payload)

function get(io, expected)
    read(io, 5) == b"ipcf\x02" && read(io, UInt8) == expected || error("the receiver says something else than expected")
    read(io, UInt16)
    size, tag, sequence = (ltoh(read(io, UInt64)) for _ in 1:3)
    return read(io, size), sequence
end

function send_words(port, words)
    io = connect(ip"127.0.0.1", port)
    # The sender's id, the capacity of its ring, what earlier connections have settled (see framing.hpp), its process.
    hello = IOBuffer()
    write(hello, rand(UInt64), number(1 << 20), number(0), number(0), number(0), number(0), htol(Int32(getpid())), 0x00000000)
    put(io, HELLO; payload=take!(hello), sequence=1)
    answer, _ = get(io, ANSWER) # the receiver's id, whether it refused, its process, why
    any(!=(0), answer[9:12]) && error("refused: ", rstrip(String(answer[17:224]), '\0'))
    for (n, word) in enumerate(words)
        put(io, MESSAGE; payload=word, tag=100n, sequence=n)
    end
    put(io, ASK; sequence=length(words))
    while get(io, RELEASED)[2] < length(words) end
    put(io, END; sequence=length(words))
    close(io)
end

send_words(parse(Int, ARGS[1]), ARGS[2:end])
