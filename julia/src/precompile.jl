# What the first calls of a session would wait for. Their inference is kept in the package's cache file; machine code is
# made in each session, in 1.5 at least.

precompile(__init__, ())
precompile(loaded, ())
for T in (Receiver, Sender)
    precompile(T, (String,))
    precompile(T, (Function, String))
    precompile(close, (T,))
    precompile(finish, (T,))
    precompile(isopen, (T,))
    precompile(show, (IO, MIME"text/plain", T))
    precompile(stats, (T,))
    precompile(links, (T,))
    for seconds in (Int, Float64, Nothing)
        precompile(in_the_way, (T, seconds))
    end
end
precompile(channels, ())
precompile(close_all, ())
precompile(attend_all, (Ptr{Cvoid}, Cint, Cint))
precompile(flush, (Sender,))
precompile(take!, (Receiver,))
precompile(recv, (Receiver,))
for Data in (String, Vector{UInt8}, Vector{Float64}, Matrix{Float64}, Int, Float64)
    precompile(put!, (Sender, Data))
    precompile(send, (Sender, Data))
    for tagged in (NamedTuple{(:tag,),Tuple{Int}}, NamedTuple{(:tag,),Tuple{UInt64}})
        precompile(Core.kwfunc(send), (tagged, typeof(send), Sender, Data))
    end
    precompile(recv, (Receiver, Type{Data}))
end
precompile(eachmessage, (Receiver,))
precompile(Core.kwfunc(eachmessage), (NamedTuple{(:until,),Tuple{Symbol}}, typeof(eachmessage), Receiver))
precompile(recv_blocking, (Receiver,))
