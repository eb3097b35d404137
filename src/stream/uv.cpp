#include "uv.hpp"

#include <dlfcn.h>
#include <fcntl.h>

#include <cerrno>
#include <memory>

#include "system/failure.hpp"

namespace libipc::stream {

static constexpr const char *file_name = "libuv.so.1";

static void *load() {
    constexpr int flags = RTLD_NOW | RTLD_LOCAL;
    if (void *loaded = dlopen(file_name, flags | RTLD_NOLOAD)) return loaded;
    // A program that has functions of these names, as Julia does, would get the calls that libuv makes to itself.
    // Only then: the sanitizers' runtimes end a program that uses this flag.
    int own = dlsym(RTLD_DEFAULT, "uv_loop_init") ? RTLD_DEEPBIND : 0;
    errno = 0;
    if (void *loaded = dlopen(file_name, flags | own)) return loaded;
    int code = errno == ENOMEM ? ENOMEM : EOPNOTSUPP;
    const char *words = dlerror();
    // The loader looks in several places, and errno need not be of the one where it had no descriptor.
    int spare = open("/", O_PATH | O_CLOEXEC);
    made(spare < 0 ? -errno : spare, "a descriptor for libuv");
    fail(-code, "pipe://, fd://, unix://, tcp:// and udp:// need libuv (Debian: libuv1), which cannot be loaded: {}",
         words ? words : file_name);
}

uv_library::uv_library() : handle_(load()) {
    struct closer {
        void operator()(void *h) const { dlclose(h); }
    };
    std::unique_ptr<void, closer> guard(handle_);
#define LIBIPC_UV_LOOKUP(name) name = reinterpret_cast<decltype(name)>(dlsym(handle_, "uv_" #name));
    LIBIPC_UV_FUNCTIONS(LIBIPC_UV_LOOKUP)
#undef LIBIPC_UV_LOOKUP
#define LIBIPC_UV_THERE(name) &&name
    bool complete = true LIBIPC_UV_FUNCTIONS(LIBIPC_UV_THERE);
#undef LIBIPC_UV_THERE
    // Within a major version of 1 nothing moves: libuv promises its ABI for all of 1.
    bool same = complete && version() >> 16 == UV_VERSION_MAJOR && loop_size() == sizeof(uv_loop_t) &&
                handle_size(UV_POLL) == sizeof(uv_poll_t);
    if (!same)
        fail(
            -EOPNOTSUPP,
            "the {} that the loader finds is not one that libipc can use (it says version {}, and libipc was built for "
            "{}): put Debian's libuv1 before it in LD_LIBRARY_PATH, or use shm://",
            file_name, version_string ? version_string() : "nothing", UV_VERSION_MAJOR);
    (void)guard.release();
}

uv_library::~uv_library() { dlclose(handle_); }

}  // namespace libipc::stream
