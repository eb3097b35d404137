// A resource limit of this process that is lowered for as long as this lives.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <system_error>

class lowered_limit {
  public:
    lowered_limit(int resource, rlim_t soft) : resource_(resource) {
        rlimit lower{};
        if (getrlimit(resource_, &before_) == 0) lower = {soft, before_.rlim_max};
        if (setrlimit(resource_, &lower) != 0) throw std::system_error(errno, std::generic_category(), "setrlimit");
    }
    ~lowered_limit() { setrlimit(resource_, &before_); }
    lowered_limit(const lowered_limit &) = delete;
    lowered_limit &operator=(const lowered_limit &) = delete;

  private:
    int resource_;
    rlimit before_;
};

// Leaves this process so many descriptors, and no more.
class few_fds {
  public:
    explicit few_fds(rlim_t count) : limit_(RLIMIT_NOFILE, after_the_free(count)) {}

  private:
    // The number that the first descriptor after `count` new ones would get.
    static rlim_t after_the_free(rlim_t count) {
        rlim_t number = 0;
        for (;; ++number)
            if (fcntl(static_cast<int>(number), F_GETFD) < 0 && count-- == 0) return number;
    }
    lowered_limit limit_;
};
