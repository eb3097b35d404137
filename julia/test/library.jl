# Finding the library, and what is said if it does not do.
isdefined(@__MODULE__, :held) || include("support.jl")

# The LibraryError that loading gives, in words.
function refusal(path)
    e = try LibIPC.Internals.load(path, "a test"); nothing catch e; e end
    @test e isa LibIPC.LibraryError
    return sprint(showerror, e)
end

test("a library that does not do is refused in words that say what to do, and the loaded one stays") do url
    for (name, words) in (("fake_foreign.so", ["not this package's libipc", "Set LIBIPC_LIBRARY"]),
                          ("fake_0.so", ["version 0 of the C ABI", "needs version 1", "older than the package", "build it"]),
                          ("fake_99.so", ["version 99 of the C ABI", "update the package"]),
                          ("fake_1.so", ["lacks ipc_strerror", "older than this package", "Build it anew"]),
                          ("none.so", ["there is no such file", "Build it"]),
                          ("layout.jl.so", ["cannot load", "layout.jl.so"]))
        path = joinpath(programs, name)
        name == "layout.jl.so" && (path = joinpath(folder, name); write(path, "no library"))
        text = refusal(path)
        foreach(word -> (@test occursin(word, text)), [words; path; "a test"])
        isfile(joinpath(folder, name)) && rm(joinpath(folder, name))
    end
    @test startswith(LibIPC.version(), "libipc ")
    Receiver(close, url)
end

# What another Julia prints, that runs `code` with this environment; a process that fails fails the test.
function printed(code, environment...)
    command = `$(Base.julia_cmd()) --startup-file=no --history-file=no --project=$package -e $code`
    return read(setenv(command, merge(Dict(ENV), Dict(environment))), String)
end

const provoke = """
    using LibIPC
    print("used; ")
    try
        Receiver("shm://x")
    catch e
        print(e isa LibIPC.LibraryError, "; ", sprint(showerror, e))
    end
    """

test("without a library the package loads, and the first call says what to do") do url
    # A copy of the package alone has no build folder beside it.
    alone = joinpath(folder, "alone")
    mkpath(joinpath(alone, "julia"))
    cp(joinpath(package, "src"), joinpath(alone, "julia", "src"))
    cp(joinpath(package, "Project.toml"), joinpath(alone, "julia", "Project.toml"))
    command = `$(Base.julia_cmd()) --startup-file=no --history-file=no --project=$(joinpath(alone, "julia")) -e $provoke`
    text = read(setenv(command, delete!(Dict{String,String}(ENV), "LIBIPC_LIBRARY")), String)
    @test startswith(text, "used; true; ")
    for words in ("libipc is not found", "LIBIPC_LIBRARY", "LibIPC.library!", "libipc.so.0", "cmake --build")
        @test occursin(words, text)
    end
    rm(alone; recursive=true)
end

test("the environment variable names the library, and is said to have") do url
    text = printed(provoke, "LIBIPC_LIBRARY" => "/nowhere/libipc.so")
    @test occursin("/nowhere/libipc.so (named by the environment variable LIBIPC_LIBRARY)", text)
    @test printed("using LibIPC; print(LibIPC.library())", "LIBIPC_LIBRARY" => LibIPC.library()) == LibIPC.library()
end

test("library! comes before the environment, and after a failure another may be named") do url
    code = """
        using LibIPC
        try LibIPC.library!("/nowhere/else.so") catch e; print(occursin("LibIPC.library!", e.words), "; ") end
        print(LibIPC.library!($(repr(LibIPC.library()))), "; ")
        try LibIPC.library!("/nowhere/else.so") catch e; print(occursin("is loaded already", e.words)) end
        """
    @test printed(code, "LIBIPC_LIBRARY" => "/nowhere/libipc.so") == "true; $(LibIPC.library()); true"
end
