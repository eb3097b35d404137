# The C ABI of ipc.h, one to one: its constants, its structs, and its functions, each called through a pointer in one table,
# so that the library can be exchanged while handles live.

const IPC_ABI_VERSION = 1

# Results of ipc_receiver_receive.
const IPC_MESSAGE = Int32(1)
const IPC_END = Int32(2)
const IPC_DIED = Int32(3)

# Those errors that the package acts on; ipc_strerror has words for all.
const EINTR = Int32(-Libc.EINTR)
const EAGAIN = Int32(-Libc.EAGAIN)
const ETIMEDOUT = Int32(-Libc.ETIMEDOUT)
const ECANCELED = Int32(-Libc.ECANCELED)
const EINVAL = Int32(-Libc.EINVAL)
const EPIPE = Int32(-Libc.EPIPE)
const ESTALE = Int32(-Libc.ESTALE)
const EBUSY = Int32(-Libc.EBUSY)
const EMSGSIZE = Int32(-Libc.EMSGSIZE)

const IPC_REDELIVERED = UInt32(1)
const IPC_DUPLICATE = UInt32(2)
const IPC_LATE = UInt32(4)

const FROM = (default = Int32(0), oldest = Int32(1), latest = Int32(2))
const IPC_OVERFLOW_BLOCK = Int32(0)

const IPC_UNKNOWN = typemax(UInt64)
const LINK_STATES = (:connecting, :up, :ended, :left, :unlinked)
const ROLES = (:sender, :receiver)

struct RawMessage
    struct_size::Csize_t
    data::Ptr{UInt8}
    size::Csize_t
    tag::UInt64
    sequence::UInt64
    sender::UInt64
    flags::UInt32
    link::UInt32
    position::UInt64
end

struct RawSenderOptions
    struct_size::Csize_t
    capacity::UInt64
    max_capacity::UInt64
end

struct RawReceiverOptions
    struct_size::Csize_t
    from::Int32
    overflow::Int32
end

struct RawSenderCounters
    struct_size::Csize_t
    id::UInt64
    capacity::UInt64
    used::UInt64
    messages::UInt64
    bytes::UInt64
    unreleased::UInt64
    links::UInt64
    waits::UInt64
    bells::UInt64
    refused::UInt64
    unlinked::UInt64
    lost::UInt64
    largest::UInt64
end

struct RawReceiverCounters
    struct_size::Csize_t
    id::UInt64
    messages::UInt64
    bytes::UInt64
    held::UInt64
    ends::UInt64
    deaths::UInt64
    links::UInt64
    skipped::UInt64
    waits::UInt64
    bells::UInt64
    refused::UInt64
    waiting_for_fds::UInt64
    watching::UInt64
    lost::UInt64
    duplicated::UInt64
    reordered::UInt64
    foreign::UInt64
    unheard::UInt64
end

struct RawLink
    struct_size::Csize_t
    peer::UInt64
    pid::Int32
    state::Int32
    lack::Int32
    reserved::UInt32
    committed::UInt64
    delivered::UInt64
    released::UInt64
    behind::UInt64
    skipped::UInt64
    lost::UInt64
end

struct RawChannelLink
    peer::UInt64
    pid::Int32
    state::Int32
    lack::Int32
    reserved::UInt32
    behind::UInt64
    held::UInt64
    skipped::UInt64
    lost::UInt64
end

struct RawChannel
    struct_size::Csize_t
    url::NTuple{256,UInt8}
    folder::NTuple{256,UInt8}
    id::UInt64
    pid::Int32
    role::Int32
    layout::UInt32
    links::UInt32
    messages::UInt64
    bytes::UInt64
    backlog::UInt64
    capacity::UInt64
    skipped::UInt64
    lost::UInt64
    age_ns::Int64
    shown::UInt64
    link::NTuple{60,RawChannelLink}
end

# A struct of the ABI with its size in its first member and zeros elsewhere.
function blank(::Type{T}) where {T}
    x = Ref{T}()
    GC.@preserve x begin
        p = Ptr{UInt8}(Base.unsafe_convert(Ptr{T}, x))
        ccall(:memset, Ptr{Cvoid}, (Ptr{Cvoid}, Cint, Csize_t), p, 0, sizeof(T))
        unsafe_store!(Ptr{Csize_t}(p), sizeof(T))
    end
    return x[]
end

# From a list of prototypes as they stand in ipc.h: the table with a pointer for each, and a Julia function of the same name
# that calls through it.
macro table(list)
    prototypes = filter(x -> x isa Expr, list.args)
    names = Symbol[]
    functions = Expr[]
    for prototype in prototypes
        call, result = prototype.args
        name = call.args[1]
        arguments = [a.args[1] for a in call.args[2:end]]
        types = [a.args[2] for a in call.args[2:end]]
        push!(names, name)
        push!(functions,
              :(@inline $name($(arguments...)) =
                    ccall(table.$name, $result, ($(types...),), $(arguments...))))
    end
    fields = [:($name::Ptr{Cvoid}) for name in names]
    nulls = [:C_NULL for _ in names]
    return esc(quote
        mutable struct Table
            $(fields...)
            Table() = new($(nulls...))
        end
        const table = Table()
        const function_names = $names
        $(functions...)
    end)
end

@table begin
    ipc_abi_version()::UInt32
    ipc_version()::Cstring
    ipc_strerror(code::Int32)::Cstring
    ipc_channel_list(out::Ptr{RawChannel}, count::Csize_t)::Int32

    ipc_sender_open(out::Ptr{Ptr{Cvoid}}, url::Cstring, options::Ptr{RawSenderOptions}, errbuf::Ptr{UInt8},
                    errlen::Csize_t)::Int32
    ipc_sender_reserve(s::Ptr{Cvoid}, size::Csize_t, data::Ptr{Ptr{UInt8}}, timeout_ns::Int64)::Int32
    ipc_sender_commit(s::Ptr{Cvoid}, size::Csize_t, tag::UInt64)::Int32
    ipc_sender_abort(s::Ptr{Cvoid})::Int32
    ipc_sender_send(s::Ptr{Cvoid}, data::Ptr{UInt8}, size::Csize_t, tag::UInt64, timeout_ns::Int64)::Int32
    ipc_sender_end(s::Ptr{Cvoid})::Int32
    ipc_sender_flush(s::Ptr{Cvoid}, timeout_ns::Int64)::Int32
    ipc_sender_interrupt(s::Ptr{Cvoid})::Int32
    ipc_sender_arm(s::Ptr{Cvoid})::Int32
    ipc_sender_fd(s::Ptr{Cvoid})::Int32
    ipc_sender_url(s::Ptr{Cvoid})::Cstring
    ipc_sender_stats(s::Ptr{Cvoid}, out::Ptr{RawSenderCounters})::Int32
    ipc_sender_links(s::Ptr{Cvoid}, out::Ptr{RawLink}, count::Csize_t)::Int32
    ipc_sender_close(s::Ptr{Cvoid}, linger_ns::Int64)::Int32

    ipc_receiver_open(out::Ptr{Ptr{Cvoid}}, url::Cstring, options::Ptr{RawReceiverOptions}, errbuf::Ptr{UInt8},
                      errlen::Csize_t)::Int32
    ipc_receiver_receive(r::Ptr{Cvoid}, msg::Ptr{RawMessage}, timeout_ns::Int64)::Int32
    ipc_receiver_release(r::Ptr{Cvoid}, msg::Ptr{RawMessage})::Int32
    ipc_receiver_interrupt(r::Ptr{Cvoid})::Int32
    ipc_receiver_arm(r::Ptr{Cvoid})::Int32
    ipc_receiver_fd(r::Ptr{Cvoid})::Int32
    ipc_receiver_url(r::Ptr{Cvoid})::Cstring
    ipc_receiver_stats(r::Ptr{Cvoid}, out::Ptr{RawReceiverCounters})::Int32
    ipc_receiver_links(r::Ptr{Cvoid}, out::Ptr{RawLink}, count::Csize_t)::Int32
    ipc_receiver_close(r::Ptr{Cvoid})::Int32

    ipc_sender_freeze(s::Ptr{Cvoid}, state::Ptr{UInt8}, size::Csize_t)::Int32
    ipc_sender_adopt(out::Ptr{Ptr{Cvoid}}, state::Ptr{UInt8}, size::Csize_t, errbuf::Ptr{UInt8}, errlen::Csize_t)::Int32
    ipc_sender_forget(s::Ptr{Cvoid})::Int32
    ipc_receiver_freeze(r::Ptr{Cvoid}, state::Ptr{UInt8}, size::Csize_t)::Int32
    ipc_receiver_adopt(out::Ptr{Ptr{Cvoid}}, state::Ptr{UInt8}, size::Csize_t, errbuf::Ptr{UInt8}, errlen::Csize_t)::Int32
    ipc_receiver_forget(r::Ptr{Cvoid})::Int32
end

function set!(to::Table, from::Table)
    for name in function_names
        setfield!(to, name, getfield(from, name))
    end
    return to
end
copy_of(t::Table) = set!(Table(), t)

# ipc_receiver_receive for a thread that blocks in it: the garbage collector need not wait for it. Between entering and
# leaving the safe region stands this one call, and nothing that could touch a Julia object.
@static if VERSION >= v"1.12"
    function ipc_receiver_receive_gcsafe(r::Ptr{Cvoid}, msg::Ptr{RawMessage}, timeout_ns::Int64)
        f = table.ipc_receiver_receive
        return @ccall gc_safe=true $f(r::Ptr{Cvoid}, msg::Ptr{RawMessage}, timeout_ns::Int64)::Int32
    end
else
    function ipc_receiver_receive_gcsafe(r::Ptr{Cvoid}, msg::Ptr{RawMessage}, timeout_ns::Int64)
        f = table.ipc_receiver_receive
        before = ccall(:jl_gc_safe_enter, Int8, ())
        result = ccall(f, Int32, (Ptr{Cvoid}, Ptr{RawMessage}, Int64), r, msg, timeout_ns)
        ccall(:jl_gc_safe_leave, Cvoid, (Int8,), before)
        return result
    end
end
