# Where libipc is, and loading it: found at first use, checked before anything of it is called.

mutable struct Library
    chosen::String      # by library!
    path::String        # of what is loaded
    file::Ptr{Cvoid}    # dlopen's handle of it
    stamp::UInt         # which file it was
    lock::ReentrantLock # whoever opens a handle, or exchanges the library, holds it
end
const the_library = Library("", "", C_NULL, 0, ReentrantLock())

# So many are inside the library without a handle.
const callers = Threads.Atomic{Int}(0)

function counted(f)
    Threads.atomic_add!(callers, 1)
    try
        return f()
    finally
        Threads.atomic_sub!(callers, 1)
    end
end

const checkout = dirname(dirname(@__DIR__))
const soname = "libipc.so.0"

# What is searched for, in this order, as (path, who says so).
function candidates()
    found = Tuple{String,String}[]
    isempty(the_library.chosen) || push!(found, (the_library.chosen, "LibIPC.library!"))
    named = get(ENV, "LIBIPC_LIBRARY", "")
    isempty(named) || push!(found, (named, "the environment variable LIBIPC_LIBRARY"))
    built = joinpath(checkout, "build", "libipc.so")
    # A copy of this package elsewhere has another project's files above it.
    isfile(built) && isfile(joinpath(checkout, "include", "ipc", "ipc.h")) &&
        push!(found, (built, "the build folder of this checkout"))
    push!(found, (soname, "the system's library path"))
    return found
end

"""
    LibIPC.library!(path)

Uses the library at `path`, and loads it. Without this call the library is looked for at first use: the path in the
environment variable `LIBIPC_LIBRARY`, then the folder `build` of the checkout that this package is part of, then
`libipc.so.0` on the system's library path. Throws [`LibIPC.LibraryError`](@ref) if it does not do.

# Examples
```julia
LibIPC.library!(LibIPC.library()) == LibIPC.library()    # true
```
"""
function library!(path::AbstractString)
    wanted = abspath(String(path))
    lock(the_library.lock) do
        if the_library.file != C_NULL
            samefile(wanted, the_library.path) && return
            throw(LibraryError(wanted, "cannot use $wanted: $(the_library.path) is loaded already. Call " *
                                       "LibIPC.library! before anything else of LibIPC"))
        end
        load(wanted, "LibIPC.library!")
        the_library.chosen = wanted
    end
    return the_library.path
end

samefile(a, b) = a == b || (ispath(a) && ispath(b) && Base.Filesystem.samefile(a, b))

"""
    LibIPC.library()

The path of the library that is loaded. Loads it if none is.
"""
function library()
    loaded()
    return the_library.path
end

# Loads the library, unless one is.
loaded() = the_library.file == C_NULL ? load_first() : nothing

@noinline load_first() = lock(the_library.lock) do
    the_library.file == C_NULL || return
    path, who = first(candidates())
    load(path, who)
    return
end

function load(path::String, who::String)
    file, fresh = open_library(path, path, who)
    set!(table, fresh)
    the_library.file = file
    the_library.path = path == soname ? dlpath(file) : path
    the_library.stamp = stamp_of(the_library.path)
    return
end

# What is in `file`, the one at `path` or a copy of it: dlopen's handle, and the functions.
function open_library(file::String, path::String, who::String)
    why = ""
    handle::Ptr{Cvoid} = try
        dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND)
    catch e
        e isa ErrorException || rethrow()
        why = e.msg
        C_NULL
    end
    # Not in the catch: the loader's words would be told twice.
    handle == C_NULL && rarely(throw_not_loaded, path, who, why)
    try
        return handle, functions_of(handle, path, who)
    catch
        dlclose(handle)
        rethrow()
    end
end

# All functions of ipc.h.
function functions_of(file::Ptr{Cvoid}, path::String, who::String)
    version = dlsym(file, :ipc_abi_version; throw_error=false)
    version === nothing && rarely(throw_not_libipc, path, who)
    abi = ccall(version, UInt32, ())
    abi == IPC_ABI_VERSION || rarely(throw_other_abi, path, who, abi)
    found, missed = Table(), Symbol[]
    for name in function_names
        pointer = dlsym(file, name; throw_error=false)
        pointer === nothing ? push!(missed, name) : setfield!(found, name, pointer)
    end
    isempty(missed) || rarely(throw_too_old, path, who, missed)
    return found
end

throw_not_libipc(path, who) = throw(LibraryError(path,
    "$path (named by $who) is a library, but not this package's libipc: it has no ipc_abi_version. Another project has a " *
    "library of the same name. Set LIBIPC_LIBRARY to the libipc.so that comes with this package"))

throw_other_abi(path, who, abi) = throw(LibraryError(path,
    "$path (named by $who) has version $abi of the C ABI, and this package needs version $IPC_ABI_VERSION: " *
    (abi < IPC_ABI_VERSION ? "the library is older than the package; build it anew" :
     "the package is older than the library; update the package") *
    ", so that both are from the same checkout"))

throw_too_old(path, who, missed) = throw(LibraryError(path,
    "$path (named by $who) lacks $(join(missed, ", ")): it is older than this package. Build it anew, so that both are " *
    "from the same checkout"))

throw_not_loaded(path, who, why) =
    throw(LibraryError(path, path == soname ? not_found() : not_loaded(path, who, why)))

not_found() = """
    libipc is not found. It is looked for as
      1. the path given to LibIPC.library!(path): none was given
      2. the environment variable LIBIPC_LIBRARY: it is not set
      3. $(joinpath(checkout, "build", "libipc.so")): there is none
      4. $soname on the system's library path: there is none
    Build it with `cmake -S $checkout -B $checkout/build && cmake --build $checkout/build`, or name the one you have."""

not_loaded(path, who, why) =
    isfile(path) ? "cannot load $path (named by $who): $why" :
    "cannot load $path (named by $who): there is no such file. Build it, or name the one you have"

"""
    LibIPC.version()

The library's own words on its version, with its build id.

# Examples
```julia
startswith(LibIPC.version(), "libipc ")   # true
```
"""
function version()
    loaded()
    return counted(() -> unsafe_string(ipc_version()))
end

# A code of ipc.h in words.
strerror(code::Integer) = counted(() -> unsafe_string(ipc_strerror(Int32(code))))
