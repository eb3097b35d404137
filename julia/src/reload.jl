# Exchanging the library for another build of it while handles are open.
#
# Between two builds a handle goes as ipc.h says: frozen in the old copy, adopted in the new one, forgotten in the old one.
# Before that nobody may be inside the old copy: who opens waits for the lock of the library, who uses a handle waits
# before its gate (handle.jl), finalizers put themselves off while it is held, and who calls without a handle is counted.

"""
    LibIPC.reload!([path]; build=false)

Exchanges the library for the file that is at `path` now, or where the loaded one was found, while everything goes on: open
receivers and senders, tasks that wait in them, messages that are held, a thread in [`recv_blocking`](@ref). No peer
notices. With `build=true` it is built first by `cmake --build`, whose output is shown.

Returns the new version, how many handles went over, and for how many seconds they stood still. If anything is wrong with
the new library, [`LibIPC.LibraryError`](@ref) says what, and the old one goes on as if nothing had happened.

# Examples
```julia
s, r = Sender("shm://reloaded"), Receiver("shm://reloaded")
put!(s, "sent through the old one")
LibIPC.reload!().handles    # 2
String(take!(r))            # "sent through the old one"
```
"""
function reload!(path::AbstractString=""; build::Bool=false)
    lock(reloading) do
        from = isempty(path) ? chosen_path() : abspath(String(path))
        build && run_build(from)
        loaded()
        return uninterrupted(() -> exchange(isempty(path) ? the_library.path : from))
    end
end

const reloading = ReentrantLock()

chosen_path() = the_library.file == C_NULL ? first(first(candidates())) : the_library.path

# A Ctrl-C that comes meanwhile is seen afterwards. It is kept from one thread, so the task has to stay on that.
uninterrupted(f) = on_this_thread(() -> disable_sigint(f))

# ---- The exchange ----

function exchange(path::String, patience=patience_ns)
    stamp = stamp_of(path)
    file, fresh = try
        load_copy(path)
    catch e
        e isa LibraryError || rethrow()
        throw(LibraryError(path, "cannot reload: $(e.words). $(going_on())"))
    end
    old = copy_of(table)
    moved = try
        lock(() -> go_over(fresh, patience), the_library.lock)
    catch e
        dlclose(file)
        e isa Union{IPCError,ConcurrencyError} || rethrow()
        words = e isa IPCError ? e.words : "a call on $(e.url) does not leave the old one"
        throw(LibraryError(path, "cannot reload $path: $words. $(going_on())"))
    end
    foreach((h, pointer) -> forget(old, h.receives, pointer), moved.handles, moved.before)
    barrier()  # whoever counts itself in from now on sees the new table
    while callers[] != 0
        yield()
    end
    dlclose(the_library.file)
    the_library.file = file
    the_library.path = path
    the_library.stamp = stamp
    return (version=version(), handles=length(moved.handles), pause=moved.pause)
end

going_on() = the_library.file == C_NULL ? "No library is loaded" : "This Julia goes on with $(version())"

# Takes all handles over to the new copy, with nobody inside any of them.
function go_over(fresh::Table, patience)
    # What stands still does not wait for the compiler.
    precompile(shut_out, (Handle, Int))
    precompile(freeze, (Handle,))
    precompile(adopt, (Table, Handle, Vector{UInt8}))
    precompile(hand_over, (Vector{Handle}, Table))
    precompile(set!, (Table, Table))
    locked = Handle[]
    try
        for h in library_handles()
            lock(h)
            push!(locked, h)
        end
        began = time_ns()
        for h in locked
            shut_out(h, patience)
        end
        handles = filter(h -> h.pointer != C_NULL, locked)
        before = [h.pointer for h in handles]
        adopted = hand_over(handles, fresh)
        set!(table, fresh)
        for i in eachindex(handles)
            handles[i].pointer = adopted[i]
        end
        return (handles=handles, before=before, pause=(time_ns() - began) / 1e9)
    finally
        for h in locked
            h.gate &= ~SHUT
            unlock(h)
        end
    end
end

# All of which the library has a part: also closed ones that hold messages.
function library_handles()
    lock(handles_lock)
    found = copy(handles)
    unlock(handles_lock)
    return filter!(h -> h.pointer != C_NULL, found)
end

# The handles' pointers in the new copy. If that fails, they are as before in the old one.
function hand_over(handles::Vector{Handle}, fresh::Table)
    states, adopted = Vector{UInt8}[], Ptr{Cvoid}[]
    try
        for h in handles
            push!(states, freeze(h))
        end
        for (h, state) in zip(handles, states)
            push!(adopted, adopt(fresh, h, state))
        end
    catch
        for (h, pointer) in zip(handles, adopted)
            forget(fresh, h.receives, pointer)
        end
        for (h, state) in zip(handles, states)
            adopt(table, h, state)  # gives the frozen handle back
        end
        rethrow()
    end
    return adopted
end

function freeze(h::Handle)
    state = UInt8[]
    while true
        f = h.receives ? table.ipc_receiver_freeze : table.ipc_sender_freeze
        size = ccall(f, Int32, (Ptr{Cvoid}, Ptr{UInt8}, Csize_t), h.pointer, state, length(state))
        size < 0 && throw_error(h, size)
        size <= length(state) && return state
        resize!(state, size)
    end
end

function adopt(t::Table, h::Handle, state::Vector{UInt8})
    f = h.receives ? t.ipc_receiver_adopt : t.ipc_sender_adopt
    out = Ref{Ptr{Cvoid}}(C_NULL)
    words = zeros(UInt8, 1024)
    code = ccall(f, Int32, (Ptr{Ptr{Cvoid}}, Ptr{UInt8}, Csize_t, Ptr{UInt8}, Csize_t), out, state, length(state), words,
                 length(words))
    code < 0 && throw(IPCError(code, "$(h.url): " * GC.@preserve words unsafe_string(pointer(words))))
    return out[]
end

forget(t::Table, receives::Bool, pointer::Ptr{Cvoid}) =
    ccall(receives ? t.ipc_receiver_forget : t.ipc_sender_forget, Int32, (Ptr{Cvoid},), pointer)

# ---- The new copy ----

# The library at `path` and its functions. It is loaded from a copy of the file: one of a name that is loaded would not be
# loaded again, and one that is written over would take Julia with it.
function load_copy(path::String)
    isfile(path) || throw(LibraryError(path, not_loaded(path, "LibIPC.reload!", "")))
    folder = ""
    try
        bytes = read(path)
        check_bytes(bytes, path)
        folder = mktempdir()
        copied = joinpath(folder, "libipc.so")
        write(copied, bytes)
        filesize(copied) == length(bytes) || error("there is no room for $(length(bytes)) bytes")
        return open_library(copied, path, "LibIPC.reload!")
    catch e
        e isa LibraryError && rethrow()
        throw(LibraryError(path, "$path can't be copied into $(tempdir()): $(sprint(showerror, e))"))
    finally
        isempty(folder) || rm(folder; recursive=true)
    end
end

# What the loader would not refuse but crash on, or refuse in words that say little: a file that was cut, and one for
# another machine.
function check_bytes(bytes::Vector{UInt8}, path::String)
    refuse(why) = throw(LibraryError(path, "$path is not a library for this machine: $why. Build it anew"))
    number(T, offset) = offset + sizeof(T) <= length(bytes) ?
        reinterpret(T, bytes[(offset + 1):(offset + sizeof(T))])[1] : refuse("it ends after $(length(bytes)) bytes")
    length(bytes) >= 4 && bytes[1:4] == b"\x7fELF" || refuse("its first bytes are not those of a library")
    own = open(io -> read(io, 20), "/proc/self/exe")
    number(UInt16, 4) == reinterpret(UInt16, own[5:6])[1] && number(UInt16, 18) == reinterpret(UInt16, own[19:20])[1] ||
        refuse("it is for another kind of processor")
    reach(last) = last <= length(bytes) ||
        refuse("it ends after $(length(bytes)) bytes, and $last are needed: it was cut")
    at, size, count = number(UInt64, 32), number(UInt16, 54), number(UInt16, 56)
    for segment in at .+ size .* (0:(Int(count) - 1))
        reach(number(UInt64, segment + 8) + number(UInt64, segment + 32))
    end
    # The table of sections is what linkers write last.
    reach(number(UInt64, 40) + number(UInt16, 58) * UInt64(number(UInt16, 60)))
    return
end

# ---- Building ----

function run_build(path::String)
    folder = dirname(path)
    while !isfile(joinpath(folder, "CMakeCache.txt"))
        folder == dirname(folder) && throw(LibraryError(path,
            "cannot build $path: no folder above it was made by cmake. Build it yourself, and call LibIPC.reload!(). " *
            going_on()))
        folder = dirname(folder)
    end
    command = `cmake --build $folder --target libipc`
    shown = String[]
    output = Pipe()
    process = try
        run(pipeline(setenv(command, without_julias_libraries()); stdout=output, stderr=output); wait=false)
    catch e
        throw(LibraryError(path, "cannot build $path: $(sprint(showerror, e)). $(going_on())"))
    end
    close(output.in)
    for line in eachline(output)
        println(line)
        push!(shown, line)
    end
    wait(process)
    success(process) || throw(LibraryError(path, "the build of $path failed. $(going_on()). Its last words:\n" *
        join(["    " * line for line in shown[max(1, end - 19):end]], "\n")))
    return
end

# The environment for programs of this system. A Julia that was unpacked from another system's packages has its own
# libraries on LD_LIBRARY_PATH.
function without_julias_libraries()
    environment = Dict{String,String}(ENV)
    prefix = dirname(dirname(Sys.BINDIR))
    paths = split(get(environment, "LD_LIBRARY_PATH", ""), ':'; keepempty=false)
    prefix == "/" || filter!(path -> !startswith(path, prefix * "/"), paths)
    delete!(environment, "LD_LIBRARY_PATH")
    isempty(paths) || (environment["LD_LIBRARY_PATH"] = join(paths, ':'))
    return environment
end

# ---- By itself ----

mutable struct Autoreload
    monitor::Union{Nothing,FolderMonitor}
    task::Union{Nothing,Task}
end
const autoreload = Autoreload(nothing, nothing)

"""
    LibIPC.autoreload!(on::Bool=true)

From now on a rebuilt library is picked up by itself, as by [`LibIPC.reload!`](@ref), when some task next lets others run.
What becomes of it is logged. `false` ends this.

# Examples
```julia
LibIPC.autoreload!(true)
LibIPC.autoreload!(false)
```
"""
function autoreload!(on::Bool=true)
    lock(reloading) do
        on == (autoreload.task !== nothing) && return
        if on
            loaded()
            autoreload.task = @async follow(current_task())
        else
            autoreload.task = nothing
            autoreload.monitor === nothing || close(autoreload.monitor)
        end
        return
    end
end

# Reloads whenever the library's file is another one, until `task` is no longer the one that does this.
function follow(task::Task)
    tried = the_library.stamp
    while autoreload.task === task
        path = the_library.path
        folder = dirname(isfile(path) ? realpath(path) : path)
        monitor = try
            FolderMonitor(folder)
        catch
            sleep(1)  # the folder is being made anew
            continue
        end
        autoreload.monitor = monitor
        try
            here = stat(folder)
            while (here.device, here.inode) == (stat(folder).device, stat(folder).inode)
                stamp = settled_stamp(path)
                if isfile(path) && stamp != tried && stamp != the_library.stamp
                    tried = stamp
                    reload_and_tell()
                end
                wait(monitor)
            end
        catch e
            e isa EOFError || rethrow()
        finally
            close(monitor)
        end
    end
    return
end

# Which file is at `path`.
function stamp_of(path::String)
    s = stat(path)
    return hash(s.device, hash(s.inode, hash(s.size, reinterpret(UInt64, s.mtime))))
end

# The same, once it is not being written any more.
function settled_stamp(path::String)
    stamp = stamp_of(path)
    while true
        sleep(0.1)
        later = stamp_of(path)
        later == stamp && return stamp
        stamp = later
    end
end

function reload_and_tell()
    try
        done = reload!()
        @info "LibIPC goes on with $(done.version): $(done.handles) handles stood still for $(done.pause) s"
    catch e
        e isa LibraryError || rethrow()
        @warn sprint(showerror, e)
    end
    return
end
