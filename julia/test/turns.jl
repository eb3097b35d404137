# Loops over verbs that never have to wait.
isdefined(@__MODULE__, :held) || include("support.jl")

work(seconds, began=time_ns()) = while time_ns() - began < seconds * 1e9 end

test("other tasks run beside a loop over a verb that always succeeds") do url
    buffer = zeros(UInt8, 8)
    next_of_each(each) = iterate(each)[1]
    receiving = ("recv" => recv, "recv with a time-out" => r -> recv(r; timeout=patience), "recv with a function" => r -> recv(length, r),
                 "recv of a value" => r -> recv(r, Int), "recv of a String" => r -> recv(r, String),
                 "recv of a Vector" => r -> recv(r, Vector{Int}), "recv!" => r -> recv!(buffer, r), "take!" => take!,
                 "popfirst!" => popfirst!, "iteration" => next_of_each, "eachmessage" => r -> next_of_each(eachmessage(r)),
                 "fetch" => fetch, "wait" => wait, "isready" => isready)
    sending = ("send of a value" => s -> send(s, 1), "send of an array" => s -> send(s, buffer), "send of a String" => s -> send(s, "x"),
               "send in place" => s -> send(room -> fill!(room, 0), s, 8), "put!" => s -> put!(s, 1))
    Receiver(url) do r
        Sender(url) do s
            for (verbs, x) in ((sending, s), (receiving, r), (("flush" => flush,), s)), (name, verb) in verbs
                x === r && foreach(_ -> send(s, 1), 1:100)
                turns, done = 0, false
                other = @async while !done
                    turns += 1
                    yield()
                end
                loop = @async begin
                    for _ in 1:100
                        verb(x)
                        work(0.001)
                    end
                    turns
                end
                had = result(loop)
                done = true
                result(other)
                had >= 5 || @error "no turns beside $name"
                @test had >= 5
                while isready(r)
                    take!(r)
                end
            end
        end
    end
end
