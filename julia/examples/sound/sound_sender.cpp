// Streams WAV files as raw frames of 10 ms, at their own pace. The tag of each message is the gain, in 1/256.
// The first message, with tag 0, says which build of this program sends: change the gain, rebuild, start it again.
//   sound_sender URL BUILD-ID FILE.wav...
#include <chrono>
#include <cstdio>
#include <exception>
#include <ipc/ipc.hpp>
#include <thread>

#include "wav.hpp"

constexpr int gain = 128;  // in 1/256

int main(int count, char **arguments) try {
    if (count < 4) return std::fprintf(stderr, "usage: sound_sender URL BUILD-ID FILE.wav...\n"), 2;
    std::vector<std::int16_t> samples = read_wavs(count - 3, arguments + 3);
    ipc::sender sender(arguments[1]);
    sender.send(std::string_view(arguments[2]), 0);
    auto due = std::chrono::steady_clock::now();
    for (std::size_t at = 0; at < samples.size(); at += frame_samples) {
        std::size_t n = std::min(frame_samples, samples.size() - at);
        ipc::reservation frame = sender.reserve(n * sizeof(std::int16_t));
        auto *out = reinterpret_cast<std::int16_t *>(frame.bytes().data());
        for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::int16_t>(samples[at + i] * gain / 256);
        frame.commit(n * sizeof(std::int16_t), gain);
        std::this_thread::sleep_until(due += std::chrono::milliseconds(10));
    }
    std::size_t lost = sender.close(std::chrono::seconds(10));
    if (lost != 0) std::fprintf(stderr, "sound_sender: %zu messages were not received\n", lost);
    return lost != 0;
} catch (const std::exception &e) {
    return std::fprintf(stderr, "sound_sender: %s\n", e.what()), 1;
}
