# All tests of the package, in one process: julia --project=julia julia/test/runtests.jl
include("support.jl")

@testset "LibIPC" begin
    for file in sort(readdir(@__DIR__))
        endswith(file, ".jl") && !(file in ("runtests.jl", "support.jl")) || continue
        @testset "$file" begin
            include(file)
        end
    end
end
