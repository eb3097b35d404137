# What goes wrong, by type. A closed handle throws InvalidStateException, as a closed Channel does.

"""
    LibraryError(path, words)

The library `libipc` is missing, too old, too new, or another library of that name. `words` say what to do.
"""
struct LibraryError <: Exception
    path::String
    words::String
end
Base.showerror(io::IO, e::LibraryError) = print(io, "LibraryError: ", e.words)

"""
    IPCError(code, words)

A call into libipc failed. `code` is one of the negative codes of ipc.h, mostly `-errno`; `words` say what was tried,
what is in the way, and what to do.
"""
struct IPCError <: Exception
    code::Int32
    words::String
end
Base.showerror(io::IO, e::IPCError) = print(io, "IPCError: ", e.words, " (code ", e.code, ")")

"""
    TimeoutError(words, seconds)

Nothing came, or no room was made, within `seconds`. `words` say who was in the way.
"""
struct TimeoutError <: Exception
    words::String
    seconds::Float64
end
Base.showerror(io::IO, e::TimeoutError) = print(io, "TimeoutError: ", e.words)

"""
    StaleMessageError()

A [`Message`](@ref) was used after it was given back: by the next `recv` on its receiver, or by [`release`](@ref).
Use [`hold`](@ref) to keep it for longer, or `copy` to keep its bytes.
"""
struct StaleMessageError <: Exception end
Base.showerror(io::IO, ::StaleMessageError) =
    print(io, "StaleMessageError: the message has been given back to its sender, by the next recv or by release; ",
          "`hold(m)` keeps it for longer, `copy(m)` keeps its bytes, also for another process or session")

"""
    SenderDied(sender, url)

The sender with the id `sender` went without saying that it ended: it was killed, or crashed.
"""
struct SenderDied <: Exception
    sender::UInt64
    url::String
end
Base.showerror(io::IO, e::SenderDied) =
    print(io, "SenderDied: sender ", repr(e.sender), " on ", e.url, " went without an end")

"""
    ConcurrencyError(url)

Two tasks used one handle at the same time in its fast form. `take!` and `put!` may be called by any number of tasks;
`recv` and `send` by one at a time, and not beside the former.
"""
struct ConcurrencyError <: Exception
    url::String
end
Base.showerror(io::IO, e::ConcurrencyError) =
    print(io, "ConcurrencyError: two tasks use the handle on ", e.url, " at the same time. recv and send are for one ",
          "task at a time; take! and put! are for any number of them. Or open a handle for each task")

# Calls f, which is compiled when it is called, and not with its caller, as it would be by a plain call. For what a first
# handle need not wait for: words, above all, take longer to compile than what they are about.
@noinline rarely(@nospecialize(f), @nospecialize(arguments...)) = Base.invokelatest(f, arguments...)

closed_exception(noun::String) = InvalidStateException("$noun is closed.", :closed)
