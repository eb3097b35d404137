// libuv, loaded by the first stream of a process and unloaded after its last: who uses shared memory needs libc only.
#pragma once

#include <uv.h>

namespace libipc::stream {

// The functions of libuv that are used, without their `uv_`.
#define LIBIPC_UV_FUNCTIONS(each)                                                                         \
    each(version) each(version_string) each(loop_size) each(handle_size) each(loop_init) each(loop_close) \
        each(loop_fork) each(run) each(backend_fd) each(close) each(poll_init) each(poll_start)

// Each loop has its own: the loader counts, so that nothing here is shared by threads.
class uv_library {
  public:
    uv_library();  // throws failure: also if it is another libuv than this was compiled for
    ~uv_library();
    uv_library(const uv_library &) = delete;
    uv_library &operator=(const uv_library &) = delete;

#define LIBIPC_UV_MEMBER(name) decltype(&uv_##name) name = nullptr;
    LIBIPC_UV_FUNCTIONS(LIBIPC_UV_MEMBER)
#undef LIBIPC_UV_MEMBER

  private:
    void *handle_;
};

}  // namespace libipc::stream
