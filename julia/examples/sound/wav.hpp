// The samples of a WAV file of 16-bit mono sound, and of several in a row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

constexpr std::size_t frame_samples = 480;  // 10 ms at 48 kHz

inline std::vector<std::int16_t> read_wav(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
    if (bytes.size() < 12 || std::memcmp(bytes.data(), "RIFF", 4) != 0)
        throw std::runtime_error(path + " is no WAV file");
    for (std::size_t at = 12; at + 8 <= bytes.size();) {
        std::uint32_t size;
        std::memcpy(&size, &bytes[at + 4], sizeof size);
        if (std::memcmp(&bytes[at], "data", 4) == 0) {
            std::vector<std::int16_t> samples(std::min<std::size_t>(size, bytes.size() - at - 8) / 2);
            std::memcpy(samples.data(), &bytes[at + 8], samples.size() * 2);
            return samples;
        }
        at += 8 + size + size % 2;
    }
    throw std::runtime_error(path + " has no sound in it");
}

inline std::vector<std::int16_t> read_wavs(int count, char **paths) {
    std::vector<std::int16_t> all;
    for (int i = 0; i < count; ++i) {
        auto one = read_wav(paths[i]);
        all.insert(all.end(), one.begin(), one.end());
    }
    return all;
}
