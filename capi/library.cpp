// The functions that belong to no handle.
#include <elf.h>
#include <ipc/ipc.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "entry.hpp"
#include "handle/handoff.hpp"
#include "handle/listing.hpp"
#include "memory/layout.hpp"

// The start of this library in memory, its ELF header; the linker provides it. Bytes, as more follows than a header.
extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[];

#ifdef LIBIPC_OWN_LIBSTDCXX
namespace __gnu_cxx {
void __freeres();
}
// The pool that our own copy of libstdc++ keeps for exceptions without memory: 72 KiB for each dlopen and dlclose
// otherwise.
__attribute__((destructor)) static void give_back_pool() { __gnu_cxx::__freeres(); }
#endif

namespace {

using namespace libipc;

std::string build_id() {
    const char *base = __ehdr_start;
    auto *header = reinterpret_cast<const ElfW(Ehdr) *>(base);
    auto *headers = reinterpret_cast<const ElfW(Phdr) *>(base + header->e_phoff);
    for (int i = 0; i < header->e_phnum; ++i) {
        if (headers[i].p_type != PT_NOTE) continue;
        const char *at = base + headers[i].p_vaddr, *end = at + headers[i].p_memsz;
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            auto *note = reinterpret_cast<const ElfW(Nhdr) *>(at);
            const char *name = at + sizeof *note;
            const char *bytes = name + layout::round_up(note->n_namesz, 4);
            at = bytes + layout::round_up(note->n_descsz, 4);
            if (note->n_type != NT_GNU_BUILD_ID || std::strcmp(name, "GNU") != 0) continue;
            std::string hex;
            for (ElfW(Word) b = 0; b < note->n_descsz; ++b)
                hex += fmt::format("{:02x}", static_cast<unsigned char>(bytes[b]));
            return hex;
        }
    }
    return "unknown";
}

// A text without destructor, so that nothing stands in the way of dlclose.
struct version_text {
    char text[160];
    version_text() {
        auto end = fmt::format_to_n(text, sizeof text - 1,
                                    "libipc " LIBIPC_VERSION " (layout {}, abi {}, handoff {}, build {})",
                                    layout::version, IPC_ABI_VERSION, handoff::version, build_id());
        *end.out = 0;
    }
};

}  // namespace

extern "C" {

uint32_t ipc_abi_version(void) { return IPC_ABI_VERSION; }

const char *ipc_version(void) {
    static const version_text version;
    return version.text;
}

const char *ipc_strerror(int32_t code) {
    switch (code) {
        case 0:
            return "success";
        case IPC_MESSAGE:
            return "a message";
        case IPC_END:
            return "the sender has ended";
        case IPC_DIED:
            return "the sender went without an end";
        case -EINVAL:
            return "an argument is not one the function takes, or the call does not fit the handle's state";
        case -EPROTONOSUPPORT:
            return "the URL's scheme is unknown";
        case -EOPNOTSUPP:
            return "this version of libipc does not have what the URL or the options ask for";
        case -EAGAIN:
            return "it would have to wait";
        case -ETIMEDOUT:
            return "the time-out has passed";
        case -EINTR:
            return "a signal handler ran during the wait";
        case -ECANCELED:
            return "the call was interrupted";
        case -EMSGSIZE:
            return "the message is larger than this sender takes, which is half of its max_capacity, or of its "
                   "capacity "
                   "if it has only that, on pipes at most 32 MiB, on udp 65,443 bytes: open the sender with a larger "
                   "one";
        case -EPIPE:
            return "the sender has ended already, or the other end of its fd:// is closed";
        case -ESTALE:
            return "the message has been released already, or the frozen state is out of date";
        case -EBUSY:
            return "another thread is inside this handle, or it is frozen";
        case -EMFILE:
            return "no file descriptor is free in this process: close some, or raise `ulimit -n`";
        case -ENFILE:
            return "no file descriptor is free on this machine";
        case -ETOOMANYREFS:
            return "this user has as many descriptors on their way between processes as a process may have open: a "
                   "stopped program holds some, or raise `ulimit -n`";
        case -ENOMEM:
            return "no memory is to be had, or a limit forbids it";
        case -ENOSPC:
            return "no space is to be had, or a limit forbids it";
        case IPC_EFORKED:
            return "the handle was opened by the parent process, before fork";
        case IPC_EVERSION:
            return "the other side is a version of libipc with another memory layout, abi or handoff";
        default:
            if (const char *words = code < 0 && code > -4096 ? strerrordesc_np(-code) : nullptr) return words;
            return "not a code of libipc";
    }
}

int32_t ipc_channel_list(ipc_channel *out, size_t count) {
    if (count && !known(out)) return -EINVAL;
    no_cancel here;
    return barrier([&] {
        std::vector<ipc_channel> all = list_channels();
        std::copy_n(all.begin(), std::min(count, all.size()), out);
        return static_cast<std::int32_t>(all.size());
    });
}

int32_t ipc_channel_look(ipc_channel_view *out) {
    if (!known(out)) return -EINVAL;
    no_cancel here;
    return barrier([&] {
        *out = view_of_channels();
        return 0;
    });
}

}  // extern "C"
