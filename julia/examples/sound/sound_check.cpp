// Receives a stream of sound until its sender ends, and compares its SHA-256 (by sha256sum, fed over a pipe) with that
// of the same files at the gain that the tags name.
//   sound_check URL FILE.wav...
#include <unistd.h>

#include <array>
#include <cstdio>
#include <exception>
#include <ipc/ipc.hpp>

#include "wav.hpp"

// A sha256sum that is fed over its standard input.
class sha256 {
  public:
    sha256() {
        std::snprintf(name_.data(), name_.size(), "/tmp/sound-sha256-XXXXXX");
        int file = mkstemp(name_.data());
        if (file < 0) throw std::runtime_error("cannot make a temporary file");
        close(file);
        sum_ = popen((std::string("sha256sum > ") + name_.data()).c_str(), "w");
        if (!sum_) throw std::runtime_error("cannot start sha256sum");
    }
    void add(std::span<const std::byte> bytes) {
        if (std::fwrite(bytes.data(), 1, bytes.size(), sum_) != bytes.size())
            throw std::runtime_error("sha256sum went");
    }
    std::string finish() {
        if (pclose(sum_) != 0) throw std::runtime_error("sha256sum failed");
        std::string text(64, ' ');
        std::ifstream(name_.data()).read(text.data(), 64);
        std::remove(name_.data());
        return text;
    }

  private:
    std::array<char, 32> name_;
    std::FILE *sum_;
};

int main(int count, char **arguments) try {
    if (count < 3) return std::fprintf(stderr, "usage: sound_check URL FILE.wav...\n"), 2;
    std::vector<std::int16_t> samples = read_wavs(count - 2, arguments + 2);
    ipc::receiver receiver(arguments[1]);
    sha256 got, expected;
    std::size_t messages = 0, bytes = 0, at = 0;
    for (;;) {
        auto event = receiver.receive();
        if (event->what == ipc::event::sender_died) throw std::runtime_error("the sender died");
        if (event->what == ipc::event::sender_ended) break;
        got.add(event->message.bytes());
        ++messages;
        bytes += event->message.bytes().size();
        std::vector<std::int16_t> frame;
        for (std::size_t i = 0; i < frame_samples && at < samples.size(); ++i, ++at)
            frame.push_back(static_cast<std::int16_t>(samples[at] * static_cast<int>(event->message.tag()) / 256));
        expected.add(std::as_bytes(std::span(frame)));
    }
    std::string is = got.finish(), should_be = expected.finish();
    bool good = is == should_be && at == samples.size();
    std::printf("came back   %zu messages, %zu bytes, SHA-256 %.16s... %s\n", messages, bytes, is.c_str(),
                good ? "as it must be" : "NOT as it must be");
    return !good;
} catch (const std::exception &e) {
    return std::fprintf(stderr, "sound_check: %s\n", e.what()), 1;
}
