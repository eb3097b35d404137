// Where `ipc recv` writes to.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <system_error>

#include "stop.hpp"

namespace cli {

class output {
  public:
    explicit output(const std::string &name) : name_(name == "-" ? "standard output" : name) {
        if (name == "-") return;
        // A FIFO that nobody reads is waited for.
        do file_ = open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        while (file_ < 0 && errno == EINTR && !stopped_by);
        if (file_ < 0 && !stopped_by) throw std::system_error(errno, std::generic_category(), "cannot open " + name_);
    }
    output(const output &) = delete;
    ~output() {
        if (file_ != STDOUT_FILENO) close(file_);
    }
    bool is_terminal() const { return isatty(file_); }
    void write_all(const void *from, std::size_t size) const {
        for (auto *p = static_cast<const char *>(from); size > 0;) {
            ssize_t n = write(file_, p, size);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0 && errno == EAGAIN) {  // whoever shares it has made it so
                pollfd room{file_, POLLOUT, 0};
                poll(&room, 1, -1);
                continue;
            }
            if (n < 0) throw std::system_error(errno, std::generic_category(), "cannot write to " + name_);
            p += n;
            size -= static_cast<std::size_t>(n);
        }
    }

  private:
    std::string name_;
    int file_ = STDOUT_FILENO;
};

}  // namespace cli
