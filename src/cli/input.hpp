// What `ipc send` reads from.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "stop.hpp"

namespace cli {

// A file, closed at the end; standard input stays open.
class input {
  public:
    explicit input(const std::string &name) : name_(name == "-" ? "standard input" : name) {
        file_ = name == "-" ? STDIN_FILENO : open(name.c_str(), O_RDONLY | O_CLOEXEC);
        if (file_ < 0) throw std::system_error(errno, std::generic_category(), "cannot open " + name);
    }
    input(input &&other) noexcept : name_(std::move(other.name_)), file_(std::exchange(other.file_, -1)) {}
    ~input() {
        if (file_ > STDIN_FILENO) close(file_);
    }
    // Bytes read, 0 at the end, or when a signal has come that ends us.
    std::size_t read_some(std::span<std::byte> to) const {
        while (!stopped_by) {
            ssize_t n = read(file_, to.data(), to.size());
            if (n >= 0) return static_cast<std::size_t>(n);
            if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "cannot read " + name_);
        }
        return 0;
    }
    int file() const { return file_; }
    bool is_terminal() const { return isatty(file_); }
    // Bytes in it, 0 if that can't be told.
    std::uint64_t size() const {
        struct stat s;
        return fstat(file_, &s) == 0 && S_ISREG(s.st_mode) ? static_cast<std::uint64_t>(s.st_size) : 0;
    }

  private:
    std::string name_;
    int file_;
};

}  // namespace cli
