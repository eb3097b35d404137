#include "forge.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace forge {

namespace {

int done(int result, const char *what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

std::uint64_t random_id() {
    std::random_device source;
    return std::uint64_t{source()} << 32 | source() | 1;
}

descriptor unix_socket(int type) { return descriptor(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

}  // namespace

sockaddr_un address_of(const std::string &path) {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    if (path.size() >= sizeof a.sun_path) throw std::runtime_error("too long for a socket: " + path);
    path.copy(a.sun_path, sizeof a.sun_path - 1);
    return a;
}

descriptor::descriptor(int number) : number_(done(number, "descriptor")) {}
descriptor::descriptor(descriptor &&other) noexcept : number_(std::exchange(other.number_, -1)) {}
descriptor &descriptor::operator=(descriptor &&other) noexcept {
    if (number_ >= 0) close(number_);
    number_ = std::exchange(other.number_, -1);
    return *this;
}
descriptor::~descriptor() {
    if (number_ >= 0) close(number_);
}

memory::memory(std::uint64_t bytes, int seals)
    : bytes_(bytes), file_(memfd_create("ipc-forged", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    done(fallocate(file(), 0, 0, static_cast<off_t>(bytes)), "fallocate");
    void *p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file(), 0);
    if (p == MAP_FAILED) done(-1, "mmap");
    at_ = static_cast<std::byte *>(p);
    done(fcntl(file(), F_ADD_SEALS, seals), "seal");
}
memory::memory(memory &&other) noexcept
    : bytes_(other.bytes_), file_(std::move(other.file_)), at_(std::exchange(other.at_, nullptr)) {}
memory::~memory() {
    if (at_) munmap(at_, bytes_);
}

heard hear(const descriptor &socket) {
    heard h;
    h.bytes.resize(4096);
    alignas(cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))];
    iovec part{h.bytes.data(), h.bytes.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    int resets = 0;
    do h.size = static_cast<int>(recvmsg(socket.get(), &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    while (h.size < 0 && errno == ECONNRESET && ++resets < 3);  // comes once, before what is still queued
    if (h.size < 0) return h;
    h.bytes.resize(static_cast<std::size_t>(h.size));
    for (cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        for (std::size_t i = 0; c->cmsg_type == SCM_RIGHTS && i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
            int number;
            std::memcpy(&number, CMSG_DATA(c) + i * sizeof number, sizeof number);
            h.fds.emplace_back(number);
        }
    return h;
}

static int try_to_say(const descriptor &socket, std::span<const std::byte> bytes, std::span<const int> fds) {
    std::vector<char> control(CMSG_SPACE(fds.size_bytes()));
    iovec part{const_cast<std::byte *>(bytes.data()), bytes.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    if (!fds.empty()) {
        m.msg_control = control.data();
        m.msg_controllen = control.size();
        cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
    }
    return sendmsg(socket.get(), &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int say(const descriptor &socket, std::span<const std::byte> bytes, std::span<const int> fds) {
    int result;
    eventually([&] { return (result = try_to_say(socket, bytes, fds)) != -ETOOMANYREFS; });
    return result;
}

std::vector<std::string> names(const std::string &folder, const std::string &start) {
    std::vector<std::string> found;
    std::error_code gone;
    for (auto &entry : std::filesystem::directory_iterator(folder, gone))
        if (entry.path().filename().string().starts_with(start)) found.push_back(entry.path().filename());
    return found;
}

// ---- Sender ---------------------------------------------------------------------------------------------------------

forged_sender::forged_sender(std::uint64_t capacity)
    : ring(capacity, ring_seals),
      link(layout::link_words_bytes + layout::bits_bytes(capacity), link_seals),
      space_bell(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      pid(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))),
      capacity_(capacity) {
    hello.head = {layout::hello_magic, layout::version, sizeof hello};
    hello.sender = random_id();
    hello.rings = 1;
    hello.ring[0] = {0, capacity};
    hello.start_sequence = hello.oldest_sequence = 1;
    hello.pid = getpid();
    hello.with_pid = 1;
    fds = {link.file(), space_bell.get(), ring.file(), pid.get()};
}

bool forged_sender::connect(const std::string &folder) {
    auto found = names(folder, "r");
    if (found.size() != 1) throw std::runtime_error("not one receiver in " + folder);
    socket = unix_socket(SOCK_SEQPACKET);
    sockaddr_un a = address_of(folder + "/" + found[0]);
    int result = ::connect(socket.get(), reinterpret_cast<sockaddr *>(&a), sizeof a);
    if (result < 0 && errno == EAGAIN) return false;
    done(result, "connect");
    return true;
}

std::optional<layout::answer> forged_sender::answer() {
    heard h = hear(socket);
    if (h.size < 0) return {};
    layout::answer a{};
    if (h.size != sizeof a) throw std::runtime_error("an answer of " + std::to_string(h.size) + " bytes");
    std::memcpy(&a, h.bytes.data(), sizeof a);
    if (!h.fds.empty()) data_bell = std::move(h.fds[0]);
    return a;
}

bool forged_sender::hung_up() { return hear(socket).size == 0; }

void forged_sender::put(std::uint64_t word, std::uint64_t length, std::uint64_t tag) {
    auto header = [&](std::uint64_t position) -> layout::frame_header & {
        return *reinterpret_cast<layout::frame_header *>(ring.at(position % capacity_));
    };
    header(head + length).word.store(0);
    header(head).tag = tag;
    header(head).word.store(word);
    head += length;
}

void forged_sender::put_message(std::uint64_t tag, std::size_t size) {
    std::size_t offset = layout::payload_offset_for(head % capacity_, size);
    std::vector<std::byte> payload(size);
    fill(payload.data(), size, tag);
    for (std::size_t i = 0; i < size; ++i) *ring.at((head + offset + i) % capacity_) = payload[i];
    std::uint64_t word = layout::frame_word(layout::kind::message, offset, size);
    put(word, layout::frame_length(word), tag);
}

void forged_sender::ring_data_bell() {
    if (data_bell.get() >= 0) {
        done(eventfd_write(data_bell.get(), 1), "ring");
        return;
    }
    say(socket,
        layout::notice{{layout::notice_magic, layout::version, sizeof(layout::notice)}, layout::notice_kind::wake, 0});
}

// ---- Receiver -------------------------------------------------------------------------------------------------------

forged_receiver::forged_receiver(const std::string &folder, std::uint32_t version)
    : listener(unix_socket(SOCK_SEQPACKET)), data_bell(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    yes.head = {layout::answer_magic, layout::version, sizeof yes};
    yes.receiver = random_id();
    mkdir(folder.c_str(), 0700);
    char text[64];
    std::snprintf(text, sizeof text, "r%u-%016llx.0", version, static_cast<unsigned long long>(yes.receiver));
    name = text;
    path_ = folder + "/" + name;
    std::string temporary = folder + "/.new-" + name;
    sockaddr_un a = address_of(temporary);
    done(bind(listener.get(), reinterpret_cast<sockaddr *>(&a), sizeof a), "bind");
    done(listen(listener.get(), 16), "listen");
    done(rename(temporary.c_str(), path_.c_str()), "rename");
    descriptor knock = unix_socket(SOCK_DGRAM);
    for (auto &s : names(folder, "s")) {
        a = address_of(folder + "/" + s);
        sendto(knock.get(), "", 1, MSG_DONTWAIT, reinterpret_cast<sockaddr *>(&a), sizeof a);
    }
}

forged_receiver::~forged_receiver() {
    let_go();
    unlink(path_.c_str());
}

void forged_receiver::let_go() {
    if (link_) munmap(link_, layout::link_words_bytes);
    if (bits_) munmap(bits_, bits_bytes_);
    link_ = bits_ = nullptr;
}

bool forged_receiver::take_hello() {
    heard h;
    do {  // who hangs up at once only wanted to know whether we live
        int s = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (s < 0) return false;
        socket = descriptor(s);
        pollfd said{s, POLLIN, 0};  // connected it has, but its hello may be on the way
        done(poll(&said, 1, 10'000), "poll");
        h = hear(socket);
    } while (h.size == 0);
    if (h.size != sizeof hello || h.fds.size() < layout::hello_fds(1, false))
        throw std::runtime_error("no right hello came");
    std::memcpy(&hello, h.bytes.data(), sizeof hello);
    let_go();
    auto map = [&](std::uint64_t offset, std::uint64_t bytes) {
        void *p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, h.fds[layout::link_fd].get(),
                       static_cast<off_t>(offset));
        if (p == MAP_FAILED) done(-1, "mmap");
        return static_cast<std::byte *>(p);
    };
    link_ = map(0, layout::link_words_bytes);
    bits_bytes_ = layout::bits_bytes(hello.ring[0].capacity);
    bits_ = map(layout::link_words_bytes, bits_bytes_);
    ring = std::move(h.fds[layout::first_ring_fd]);
    space_bell = std::move(h.fds[layout::space_bell_fd]);
    return true;
}

bool forged_receiver::hung_up() {
    heard h = hear(socket);
    return h.size == 0 || (h.size < 0 && errno == ECONNRESET);
}

// ---- Those who are visited ------------------------------------------------------------------------------------------

void visited::passes(int messages) {
    std::uint64_t id = s.stats().id;
    for (; messages > 0; --messages) {
        REQUIRE(s.send(++sent_, 600) == 0);
        ipc_message m;
        do {
            int result = r.receive(m);
            REQUIRE(result > 0);
            if (m.sender == id) REQUIRE((result == IPC_MESSAGE && m.tag == sent_ && proven(m)));
            if (result == IPC_MESSAGE) REQUIRE(r.release(m) == 0);
        } while (m.sender != id);
    }
}

}  // namespace forge
