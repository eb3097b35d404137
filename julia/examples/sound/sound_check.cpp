// Receives a stream of sound until its sender ends, and compares its SHA-256 with that of the same files, once or more
// often, at the gain that the tags name.
//   sound_check URL FILE.wav...
#include <cstdio>
#include <exception>
#include <ipc/ipc.hpp>

#include "sha256.hpp"
#include "wav.hpp"

int main(int count, char **arguments) try {
    if (count < 3) return std::fprintf(stderr, "usage: sound_check URL FILE.wav...\n"), 2;
    std::vector<sample> samples = read_wavs({arguments + 2, arguments + count});
    ipc::receiver receiver(arguments[1]);
    sha256 received, right;
    std::size_t messages = 0, bytes = 0, at = 0;
    for (;;) {
        auto event = receiver.receive(std::chrono::seconds(60));
        if (!event) throw std::runtime_error("nothing came for 60 seconds");
        if (event->what == ipc::event::sender_died) throw std::runtime_error("the sender died");
        if (event->what == ipc::event::sender_ended) break;
        received.add(event->message.bytes());
        ++messages;
        bytes += event->message.bytes().size();
        for (std::size_t end = at + event->message.bytes().size() / sizeof(sample); at < end; ++at) {
            sample s = amplified(samples[at % samples.size()], static_cast<int>(event->message.tag()));
            right.add(std::as_bytes(std::span(&s, 1)));
        }
    }
    std::string is = received.hex(), must_be = right.hex();
    bool good = is == must_be && at != 0 && at % samples.size() == 0;
    std::printf("C++ got back %zu messages, %zu bytes.\nSHA-256 %s: %s\n", messages, bytes, is.c_str(),
                good ? "right." : ("WRONG, it must be " + must_be).c_str());
    return !good;
} catch (const std::exception &e) {
    return std::fprintf(stderr, "sound_check: %s\n", e.what()), 1;
}
