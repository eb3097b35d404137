// The C++ side of julia.jl, and what Julia's loops are compared with.
//   flood send URL SIZE         sends until it is killed
//   flood receive URL SECONDS   receives for so long, and prints the messages per second
// The receiver reads one word of every cache line of the payload.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ipc/ipc.hpp>
#include <string>

#include "clock.hpp"

namespace {

void send(const char *url, std::size_t size) {
    ipc::sender s(url, std::max<std::size_t>(1 << 20, 4 * size));
    for (std::uint64_t n = 1;; ++n) {
        ipc::reservation room = s.reserve(size);
        for (std::size_t i = 0; i + 8 <= size; i += 8) std::memcpy(room.bytes().data() + i, &n, 8);
        room.commit(size, n);
    }
}

void receive(const char *url, double seconds) {
    ipc::receiver r(url);
    std::uint64_t sum = 0, count = 0, word;
    std::int64_t start = 0, now;
    do {
        for (int i = 0; i < 256; ++i) {
            auto e = r.receive();
            auto bytes = e->message.bytes();
            for (std::size_t at = 0; at + 8 <= bytes.size(); at += 64) {
                std::memcpy(&word, bytes.data() + at, 8);
                sum += word;
            }
        }
        now = bench::monotonic_ns();
        if (start == 0)
            start = now;  // all before was warm-up
        else
            count += 256;
    } while (now - start < static_cast<std::int64_t>(seconds * 1e9));
    std::printf("%.1f\n", sum == 0 ? 0 : static_cast<double>(count) * 1e9 / static_cast<double>(now - start));
}

}  // namespace

int main(int argc, char **argv) {
    std::string verb = argc > 1 ? argv[1] : "";
    if (verb == "send" && argc == 4) {
        send(argv[2], std::stoul(argv[3]));
    } else if (verb == "receive" && argc == 4) {
        receive(argv[2], std::stod(argv[3]));
    } else {
        std::fputs("see the top of flood.cpp\n", stderr);
        return 2;
    }
}
