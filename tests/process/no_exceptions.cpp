// Every call of ipc.hpp in the form that takes an error_code, in a program that is compiled without exceptions.
#include <array>
#include <ipc/ipc.hpp>

int main() {
    std::error_code error;
    const auto second = std::chrono::seconds(1);
    ipc::receiver r("shm://no_exceptions", IPC_FROM_OLDEST, error), other("shm://no_exceptions", error);
    ipc::sender s("shm://no_exceptions", 1 << 20, 0, error), empty("shm://no_exceptions", error);
    if (error) return 1;
    s.send("text", 1, second, error);
    s.send(std::array{1, 2}, 2, second, error);
    s.send(std::span<const std::byte>(), 3, second, error);
    ipc::reservation place = s.reserve(10, second, error);
    place.commit(5, 4, error);
    s.send(0.5, 5, second, error);
    if (s.largest_message(error) != 1 << 19 || !s.wait_for_receivers(2, second, error)) return 8;
    s.end(error);
    for (std::uint64_t tag = 1; tag <= 5; ++tag) {
        auto event = r.receive(second, error);
        if (!event || event->message.tag() != tag) return 2;
        if (tag == 2 && event->message.as_span<int>(error).size() != 2) return 6;
        if (tag == 5 && *event->message.as<double>(error) != 0.5) return 7;
    }
    s.flush(ipc::timeout::zero(), error);
    if (!s.arm(error) || error) return 9;
    if (r.arm(error) || error) return 10;  // the end is still to be received
    if (s.stats(error).messages != 5 || r.stats(error).messages != 5) return 3;
    if (s.links(error).size() != 2 || r.links(error).size() != 2) return 4;
    return error ? 5 : 0;
}
