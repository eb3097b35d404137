# The structs of the C ABI, as this package has them and as ipc.h does.
isdefined(@__MODULE__, :held) || include("support.jl")

const mirrored = Dict("ipc_message" => LibIPC.Internals.RawMessage,
                      "ipc_sender_options" => LibIPC.Internals.RawSenderOptions,
                      "ipc_receiver_options" => LibIPC.Internals.RawReceiverOptions,
                      "ipc_sender_counters" => LibIPC.Internals.RawSenderCounters,
                      "ipc_receiver_counters" => LibIPC.Internals.RawReceiverCounters,
                      "ipc_link" => LibIPC.Internals.RawLink,
                      "ipc_channel_link" => LibIPC.Internals.RawChannelLink,
                      "ipc_channel" => LibIPC.Internals.RawChannel)

@testset "structs lie in memory as ipc.h says" begin
    seen = 0
    for line in split(read(program("layout"), String), '\n'; keepempty=false)
        name, size = split(line)
        members = split(line)[3:end]
        if name == "IPC_ABI_VERSION"
            @test parse(Int, size) == LibIPC.Internals.IPC_ABI_VERSION
            continue
        end
        T = mirrored[name]
        seen += 1
        told = [(Symbol(members[i]), parse(Int, members[i + 1])) for i in 1:2:length(members)]
        @test sizeof(T) == parse(Int, size)
        @test [(fieldname(T, i), Int(fieldoffset(T, i))) for i in 1:fieldcount(T)] == told
    end
    @test seen == length(mirrored)
end
