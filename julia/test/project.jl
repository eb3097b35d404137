# LibIPC in a project of one's own.
isdefined(@__MODULE__, :held) || include("support.jl")

test("a project takes the package in without a network, in a depot that has nothing") do url
    project, depot = mkpath(joinpath(folder, "project")), joinpath(folder, "depot")
    julia(arguments...) = setenv(`$(Base.julia_cmd()) --startup-file=no --project=$project $(arguments)`,
                                 merge(Dict(ENV), Dict("JULIA_DEPOT_PATH" => depot, "JULIA_PKG_SERVER" => "")))
    @test success(pipeline(julia(joinpath(package, "deps", "develop.jl")); stdout=devnull, stderr=devnull))
    @test read(julia("-e", "using LibIPC; print(pathof(LibIPC))"), String) == joinpath(package, "src", "LibIPC.jl")
    @test !isdir(joinpath(depot, "registries"))
    rm(project; recursive=true)
    rm(depot; recursive=true)
end
