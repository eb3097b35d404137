// The samples of WAV files of 16-bit mono sound, and how a gain changes them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

using sample = std::int16_t;
constexpr std::size_t frame_samples = 480;  // 10 ms at 48 kHz

inline std::vector<sample> read_wav(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
    if (bytes.size() < 12 || std::memcmp(bytes.data(), "RIFF", 4) != 0)
        throw std::runtime_error(path + " is no WAV file");
    for (std::size_t at = 12; at + 8 <= bytes.size();) {
        std::uint32_t size;
        std::memcpy(&size, &bytes[at + 4], sizeof size);
        if (std::memcmp(&bytes[at], "data", 4) == 0) {
            std::vector<sample> samples(std::min<std::size_t>(size, bytes.size() - at - 8) / sizeof(sample));
            std::memcpy(samples.data(), &bytes[at + 8], samples.size() * sizeof(sample));
            return samples;
        }
        at += 8 + size + size % 2;
    }
    throw std::runtime_error(path + " has no sound in it");
}

inline std::vector<sample> read_wavs(std::span<char *> paths) {
    std::vector<sample> all;
    for (const char *path : paths) {
        auto one = read_wav(path);
        all.insert(all.end(), one.begin(), one.end());
    }
    return all;
}

// gain is in 1/256.
inline sample amplified(sample s, int gain) { return static_cast<sample>(s * gain / 256); }
