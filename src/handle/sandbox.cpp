#include "sandbox.hpp"

#include <fcntl.h>
#include <ipc/ipc.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "system/failure.hpp"

namespace libipc {

namespace {

// Who needs a call: some of the transports, in some of the roles.
using users = unsigned;
constexpr users on(transport t) { return 1u << static_cast<unsigned>(t); }
constexpr users senders = 1u << 8, receivers = 1u << 9, both = senders | receivers;
constexpr users shm = on(transport::shm), fifo = on(transport::pipe) | on(transport::fd),
                unix_socket = on(transport::unix_socket), tcp = on(transport::tcp), udp = on(transport::udp),
                net = tcp | udp, connected = unix_socket | tcp | on(transport::fd), streams = fifo | connected | udp,
                all = shm | streams;

// Arguments with which a call does nothing: the kernel finds that they make no sense, a filter does not come so far.
enum class with {
    no_descriptor,
    no_descriptor_and_structs,
    no_name,
    no_name_at,
    no_name_and_struct,
    odd_flags,
    struct_alone,
    zeros,
};

struct needed {
    const char *name;
    long number;
    with arguments;
    users by;
};

#define LIBIPC_CALL(name) #name, SYS_##name
constexpr needed calls[] = {
    {LIBIPC_CALL(close), with::no_descriptor, all | both},
    {LIBIPC_CALL(mmap), with::zeros, all | both},
    {LIBIPC_CALL(munmap), with::zeros, all | both},
    {LIBIPC_CALL(madvise), with::zeros, all | both},
    {LIBIPC_CALL(getpid), with::zeros, all | both},
    {LIBIPC_CALL(getrandom), with::zeros, all | both},
    {LIBIPC_CALL(rt_sigprocmask), with::zeros, all | both},
    {LIBIPC_CALL(memfd_create), with::odd_flags, all | both},
    {LIBIPC_CALL(fallocate), with::no_descriptor, all | both},
    {LIBIPC_CALL(fcntl), with::no_descriptor, all | both},
    {LIBIPC_CALL(epoll_create1), with::odd_flags, all | both},
    {LIBIPC_CALL(epoll_ctl), with::no_descriptor_and_structs, all | both},
    {LIBIPC_CALL(eventfd2), with::odd_flags, all | both},
    {LIBIPC_CALL(timerfd_create), with::odd_flags, all | both},
    {LIBIPC_CALL(timerfd_settime), with::no_descriptor_and_structs, all | both},
    {LIBIPC_CALL(sysinfo), with::struct_alone, shm | senders},
    {LIBIPC_CALL(sysinfo), with::struct_alone, streams | both},
    {LIBIPC_CALL(geteuid), with::zeros, shm | unix_socket | fifo | both},
    {LIBIPC_CALL(openat), with::no_name_at, all | both},
    {LIBIPC_CALL(newfstatat), with::no_name_and_struct, all | both},
    {LIBIPC_CALL(socket), with::odd_flags, shm | unix_socket | net | both},
    {LIBIPC_CALL(bind), with::no_descriptor, shm | both},
    {LIBIPC_CALL(bind), with::no_descriptor, unix_socket | net | receivers},
    {LIBIPC_CALL(listen), with::no_descriptor, shm | unix_socket | tcp | receivers},
    {LIBIPC_CALL(connect), with::no_descriptor, shm | unix_socket | net | senders},
    {LIBIPC_CALL(getsockopt), with::no_descriptor_and_structs, shm | connected | both},
    {LIBIPC_CALL(unlinkat), with::no_name_at, shm | both},
    {LIBIPC_CALL(renameat), with::no_name_at, shm | receivers},
    {LIBIPC_CALL(getdents64), with::no_descriptor, shm | both},
    {LIBIPC_CALL(lseek), with::no_descriptor, shm | both},
#ifdef SYS_mkdir
    {LIBIPC_CALL(mkdir), with::no_name, shm | both},
    {LIBIPC_CALL(epoll_wait), with::no_descriptor, streams | both},
    {LIBIPC_CALL(poll), with::zeros, streams | both},
    {LIBIPC_CALL(link), with::no_name, unix_socket | receivers},
    {LIBIPC_CALL(unlink), with::no_name, unix_socket | on(transport::pipe) | receivers},
    {LIBIPC_CALL(access), with::no_name, unix_socket | on(transport::pipe) | senders},
#endif
    {LIBIPC_CALL(ioctl), with::no_descriptor, streams | both},
    {LIBIPC_CALL(pipe2), with::odd_flags, streams | both},
    {LIBIPC_CALL(pread64), with::no_descriptor, streams | both},  // to load libuv
    {LIBIPC_CALL(mprotect), with::zeros, streams | both},
    {LIBIPC_CALL(read), with::no_descriptor, streams | both},
    {LIBIPC_CALL(write), with::no_descriptor, streams | both},  // libuv ends a process that may not
    {LIBIPC_CALL(recvmsg), with::no_descriptor, connected | receivers},
    {LIBIPC_CALL(sendto), with::no_descriptor, connected | receivers},
    {LIBIPC_CALL(sendmsg), with::no_descriptor, connected | udp | senders},
    {LIBIPC_CALL(recvfrom), with::no_descriptor, connected | senders},
    {LIBIPC_CALL(shutdown), with::no_descriptor, connected | both},
    {LIBIPC_CALL(recvmmsg), with::no_descriptor, udp | receivers},
    {LIBIPC_CALL(sendmmsg), with::no_descriptor, udp | senders},
    {LIBIPC_CALL(setsockopt), with::no_descriptor, net | both},
    {LIBIPC_CALL(getsockname), with::no_descriptor_and_structs, net | both},
    {LIBIPC_CALL(getpeername), with::no_descriptor_and_structs, tcp | on(transport::fd) | both},
    {LIBIPC_CALL(flock), with::no_descriptor, unix_socket | on(transport::pipe) | receivers},
    {LIBIPC_CALL(fchmod), with::no_descriptor, unix_socket | receivers},
    {LIBIPC_CALL(mknodat), with::no_name_at, on(transport::pipe) | receivers},
    {LIBIPC_CALL(pwritev2), with::no_descriptor, fifo | senders},
};
#undef LIBIPC_CALL

long make(const needed &call) {
    char nothing[256] = {};  // the kernel may write here what nobody reads
    switch (call.arguments) {
        case with::no_descriptor:
            return syscall(call.number, -1, 0, 0, 0, 0, 0);
        case with::no_descriptor_and_structs:
            return syscall(call.number, -1, nothing, nothing, nothing, nothing, 0);
        case with::no_name:
            return syscall(call.number, "", "");
        case with::no_name_at:
            return syscall(call.number, AT_FDCWD, "", 0, "", 0);
        case with::no_name_and_struct:
            return syscall(call.number, AT_FDCWD, "", nothing, 0);
        case with::odd_flags:
            return syscall(call.number, "", ~0u, 0);
        case with::struct_alone:
            return syscall(call.number, nothing);
        case with::zeros:
            return syscall(call.number, 0, 0, 0, 0, 0, 0);
    }
    return 0;
}

}  // namespace

void check_calls(transport scheme, std::int32_t role) {
    users user = role == IPC_SENDER ? senders : receivers;
    for (const needed &call : calls)
        if ((call.by & on(scheme)) && (call.by & user) && make(call) < 0 && is_refusal(-errno))
            fail(-errno,
                 "this process is refused the system call {} ({}); allow it in its seccomp filter, which is its "
                 "container's, its service's or its own",
                 call.name, errno_words(errno));
}

}  // namespace libipc
