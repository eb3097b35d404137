# The examples in which a parent starts a child and they talk over two pipes that it inherits.
isdefined(@__MODULE__, :held) || include("support.jl")

const family = joinpath(package, "examples", "parent_and_child")
# Each may be started by the other, and needs its own environment (see program).
cpp(name) = `env -u LD_LIBRARY_PATH $(program(name).exec)`
julia(file) = `env LD_LIBRARY_PATH=$(get(ENV, "LD_LIBRARY_PATH", "")) $(Base.julia_cmd()) --startup-file=no
               --history-file=no --project=$package $(joinpath(family, file))`

# What a parent prints that has started this child, and whether it ends well.
function talk(parent, child)
    process = open(`$parent $child`)
    watchdog = Timer(_ -> kill(process, Base.SIGKILL), 3 * patience)
    printed = read(process, String)
    close(watchdog)
    return printed, success(process)
end

const talked = """
    question 1: 11.0
    question 2: 22.0
    question 3: 33.0
    the child has ended
    """

for (kind, parent) in ("C++" => cpp("parent"), "Julia" => julia("parent.jl"))
    for (childs, child) in ("C++" => cpp("child"), "Julia" => julia("child.jl"))
        test("a $kind parent and its $childs child talk both ways over fd://") do _
            @test talk(parent, child) == (talked, true)
        end
    end
    test("a $kind parent is told that its child died, and does not wait for it") do _
        @test talk(parent, `sh -c 'head -c 200 >/dev/null'`) == ("", false)
    end
end
