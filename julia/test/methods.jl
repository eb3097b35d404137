# The package's methods beside everybody else's.
isdefined(@__MODULE__, :held) || include("support.jl")

# Functions of Julia's own that this package has methods for.
function extended_functions()
    functions = Set{Any}()
    for place in (Base, Base.Broadcast, LibIPC.Internals.Sockets), name in names(place; all=true)
        isdefined(place, name) && !Base.isdeprecated(place, name) || continue
        f = getfield(place, name)
        f isa Union{Function,Type} && any(m -> m.module === LibIPC.Internals, methods(f)) && push!(functions, f)
    end
    return functions
end

owned(T) = T isa Union ? owned(T.a) || owned(T.b) :
           T isa UnionAll ? owned(T.body) || owned(T.var) :
           T isa TypeVar ? owned(T.ub) :
           T isa DataType && (parentmodule(T) === LibIPC.Internals || any(owned, T.parameters))

test("no method is for types of others only") do url
    found = extended_functions()
    @test Base.take! in found && LibIPC.send in found
    for f in found, m in methods(f)
        m.module === LibIPC.Internals || continue
        types = Base.unwrap_unionall(m.sig).parameters[2:end]
        any(owned, types) || @error "another package's business" m
        @test any(owned, types)
    end
end

test("no two methods are as good as each other for the same arguments") do url
    for f in extended_functions(), m in methods(f)
        m.module === LibIPC.Internals || continue
        rivals = filter(other -> other !== m && Base.isambiguous(m, other), collect(methods(f)))
        @test isempty(rivals)
    end
end
