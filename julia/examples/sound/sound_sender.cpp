// Streams WAV files as raw frames of 10 ms, at their own pace. The tag of each message is the gain. Change the gain
// here, rebuild, start it again: who listens goes on.
//   sound_sender URL FIRST LOG FILE.wav...
// FIRST: the frame to start with, for one that goes on where another was killed. LOG: gets a byte for each frame sent.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <ipc/ipc.hpp>
#include <thread>

#include "wav.hpp"

constexpr int gain = 128;  // in 1/256

int main(int count, char **arguments) try {
    if (count < 5) return std::fprintf(stderr, "usage: sound_sender URL FIRST LOG FILE.wav...\n"), 2;
    std::size_t first = std::strtoul(arguments[2], nullptr, 10);
    std::FILE *log = std::fopen(arguments[3], "a");
    if (!log) return std::perror(arguments[3]), 1;
    std::setbuf(log, nullptr);
    std::vector<sample> samples = read_wavs({arguments + 4, arguments + count});
    ipc::sender sender(arguments[1]);
    auto due = std::chrono::steady_clock::now();
    for (std::size_t at = first * frame_samples; at < samples.size(); at += frame_samples) {
        std::size_t n = std::min(frame_samples, samples.size() - at);
        ipc::reservation frame = sender.reserve(n * sizeof(sample), std::chrono::seconds(60));
        auto *out = reinterpret_cast<sample *>(frame.bytes().data());
        for (std::size_t i = 0; i < n; ++i) out[i] = amplified(samples[at + i], gain);
        frame.commit(n * sizeof(sample), gain);
        std::fputc('.', log);
        std::this_thread::sleep_until(due += std::chrono::milliseconds(10));
    }
    std::size_t left = sender.close(std::chrono::seconds(60));
    if (left != 0) std::fprintf(stderr, "sound_sender: %zu frames were not received\n", left);
    return left != 0;
} catch (const std::exception &e) {
    return std::fprintf(stderr, "sound_sender: %s\n", e.what()), 1;
}
