# Adds LibIPC to the active project, without a network:
#
#     julia --project=PROJECT PATH/julia/deps/develop.jl
#
# Where no registry is installed, Pkg would fetch the public one first, for a package that needs none. So it is shown an
# empty one, in a depot that goes when this is done: it must not keep Pkg from fetching the public one later.
using Pkg

mktempdir() do depot
    registry = mkpath(joinpath(depot, "registries", "Empty"))
    write(joinpath(registry, "Registry.toml"), """
        name = "Empty"
        uuid = "a0f9d3c2-5c0e-4f53-8d52-6f1f0f1c3a4b"
        repo = ""

        [packages]
        """)
    push!(DEPOT_PATH, depot)
    try
        Pkg.develop(Pkg.PackageSpec(path=dirname(@__DIR__)))
    finally
        pop!(DEPOT_PATH)
    end
end
