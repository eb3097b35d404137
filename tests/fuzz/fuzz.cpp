// Whatever comes from outside: real conversations, changed at random, are said to a receiver or a sender. It must not
// crash (best seen in a build with sanitizers), must give out no message that can't be read, and must go on.
//
//   fuzz TARGET SECONDS [SEED]     TARGET: hello, frames, answers, chunks or datagrams
#include <arpa/inet.h>
#include <fcntl.h>
#include <ipc/ipc.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../chunk_check.hpp"

namespace {

[[noreturn]] void fail(const std::string &words) {
    std::fprintf(stderr, "fuzz: %s\n", words.c_str());
    std::abort();
}
void must(bool holds, const char *what) {
    if (!holds) fail(what);
}

class dice {
  public:
    explicit dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
    std::uint64_t operator()() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        return state_ ^= state_ << 17;
    }
    std::size_t below(std::size_t n) { return (*this)() % n; }

  private:
    std::uint64_t state_;
};

// ---- Handles --------------------------------------------------------------------------------------------------------

struct pair {
    int ours, theirs;
};
pair make_pair(bool stream) {
    int both[2];
    if (stream)
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, both) == 0, "socketpair");
    else
        must(pipe2(both, O_CLOEXEC | O_NONBLOCK) == 0, "pipe2");
    return {both[1], both[0]};
}
std::string url_of(int fd) { return "fd://" + std::to_string(fd); }

ipc_sender *sender_on(const std::string &url) {
    ipc_sender *s;
    char words[512];
    if (ipc_sender_open(&s, url.c_str(), nullptr, words, sizeof words) != 0) fail(words);
    return s;
}
ipc_receiver *receiver_on(const std::string &url) {
    ipc_receiver *r;
    char words[512];
    if (ipc_receiver_open(&r, url.c_str(), nullptr, words, sizeof words) != 0) fail(words);
    return r;
}

// Takes what is there, reads all of it, and holds some for a while.
class reader {
  public:
    explicit reader(const std::string &url) : r_(receiver_on(url)) {}
    ~reader() {
        for (auto &m : held_) give_back(m);
        must(ipc_receiver_close(r_) == 0, "nothing is held any more");
        if (sum_ == 1) std::printf(" ");  // so that it is read
    }
    void take(dice &random) {
        for (int i = 0; i < 50; ++i) {
            ipc_message m{};
            m.struct_size = sizeof m;
            int got = ipc_receiver_receive(r_, &m, 0);
            if (got == -EAGAIN) break;
            must(got > 0 || got == -ENOMEM, "a receiver says nothing else");
            if (got != IPC_MESSAGE) continue;
            must(m.data != nullptr && m.size <= std::size_t{1} << 30, "a message can be read");
            auto *bytes = static_cast<const unsigned char *>(m.data);
            for (std::size_t at = 0; at < m.size; at += at < 4096 ? 1 : 4096) sum_ += bytes[at];
            if (random.below(4) != 0)
                give_back(m);
            else
                held_.push_back(m);
        }
        while (held_.size() > 20) {
            std::swap(held_[random.below(held_.size())], held_.back());
            give_back(held_.back());
            held_.pop_back();
        }
        ipc_receiver_counters c{};
        c.struct_size = sizeof c;
        must(ipc_receiver_stats(r_, &c) == 0 && c.held == held_.size(), "what is held is counted");
    }
    const char *url() const { return ipc_receiver_url(r_); }

  private:
    void give_back(const ipc_message &m) {
        must(ipc_receiver_release(r_, &m) == 0, "a message is released");
        must(ipc_receiver_release(r_, &m) == -ESTALE, "a message is released once");
    }
    ipc_receiver *r_;
    std::vector<ipc_message> held_;
    unsigned sum_ = 0;
};

// ---- Real conversations ---------------------------------------------------------------------------------------------

std::string all_of(int from) {
    std::string all;
    char bytes[65536];
    for (ssize_t n; (n = read(from, bytes, sizeof bytes)) > 0;) all.append(bytes, static_cast<std::size_t>(n));
    return all;
}

void send_some(ipc_sender *s) {
    for (std::size_t size : {0, 1, 100, 5000}) {
        std::string payload(size, 'p');
        must(ipc_sender_send(s, payload.data(), size, size, 0) == 0, "there is room");
    }
    ipc_sender_end(s);
}

// What a sender says, on a socket or a pipe.
std::string said_by_a_sender(bool stream) {
    pair p = make_pair(stream);
    ipc_sender *s = sender_on(url_of(p.ours));
    send_some(s);
    std::string all = all_of(p.theirs);
    ipc_sender_close(s, 0);
    close(p.theirs);
    return all;
}

std::string said_by_a_receiver() {
    pair p = make_pair(true);
    std::string all = said_by_a_sender(true);
    dice random(1);
    std::string heard;
    {
        reader r(url_of(p.theirs));
        must(write(p.ours, all.data(), all.size()) == static_cast<ssize_t>(all.size()), "a socket takes it");
        for (int i = 0; i < 5; ++i) r.take(random);
        heard = all_of(p.ours);
    }
    heard += all_of(p.ours);
    close(p.ours);
    return heard;
}

// ---- Changes --------------------------------------------------------------------------------------------------------

constexpr std::size_t chunk_header = 64;

// Else nothing behind the check is ever reached.
void check_again(std::string &bytes) {
    for (std::size_t at = 0; (at = bytes.find("ipcc", at)) != bytes.npos && at + chunk_header <= bytes.size(); ++at) {
        std::uint32_t sum = chunk_check(&bytes[at]);
        std::memcpy(&bytes[at + 56], &sum, sizeof sum);
    }
}

std::string changed(const std::string &seed, std::size_t focus, dice &random) {
    std::string s = seed;
    for (std::size_t times = random.below(6); times-- != 0 && !s.empty();) {
        std::size_t reach = random.below(3) == 0 ? s.size() : std::min(focus, s.size()), at = random.below(reach);
        std::size_t length = std::min(s.size() - at, std::size_t{1} << random.below(9));
        static constexpr std::uint64_t odd[] = {0,          1,          2,          31,         32,    0x7fffffff,
                                                0xffffffff, 1ull << 20, 1ull << 31, 1ull << 62, ~0ull, ~0ull >> 1};
        switch (random.below(7)) {
            case 0:
                s[at] ^= static_cast<char>(1 << random.below(8));
                break;
            case 1:
                s[at] = static_cast<char>(random());
                break;
            case 2: {
                std::uint64_t number = odd[random.below(std::size(odd))];
                std::memcpy(&s[at], &number, std::min<std::size_t>(s.size() - at, random.below(2) ? 8 : 4));
                break;
            }
            case 3:
                s.erase(at, length);
                break;
            case 4:
                s.insert(at, s.substr(random.below(s.size()), length));
                break;
            case 5:
                s.resize(at);
                break;
            default:
                s += seed;
        }
    }
    if (random.below(8) != 0) check_again(s);
    return s;
}

// In pieces of any size, with a look between them.
void say(int to, const std::string &bytes, dice &random, const std::function<void()> &look) {
    for (std::size_t at = 0; at < bytes.size();) {
        std::size_t piece = random.below(3) == 0 ? 1 + random.below(100) : bytes.size();
        ssize_t n = write(to, bytes.data() + at, std::min(piece, bytes.size() - at));
        look();
        if (n < 0 && errno != EAGAIN) return;
        if (n > 0) at += static_cast<std::size_t>(n);
        if (n < 0 && random.below(4) == 0) return;  // it is not read any more
    }
}

// ---- Targets --------------------------------------------------------------------------------------------------------

// Each returns a function that tries one input. A receiver meets many peers, of the same name too.
std::function<void(dice &)> to_a_receiver(std::size_t focus) {
    auto r = std::make_shared<reader>("tcp://127.0.0.1:0");
    return [=, seed = said_by_a_sender(true)](dice &random) {
        std::string url = r->url();
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        a.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
        int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        linger at_once{1, 0};
        if (random.below(2)) setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        if (connect(peer, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0) {
            fcntl(peer, F_SETFL, O_NONBLOCK);
            say(peer, changed(seed, focus, random), random, [&] { r->take(random); });
        }
        close(peer);
        r->take(random);
    };
}

std::function<void(dice &)> to_a_sender() {
    return [seed = said_by_a_receiver()](dice &random) {
        pair p = make_pair(true);
        ipc_sender *s = sender_on(url_of(p.ours));
        send_some(s);
        say(p.theirs, changed(seed, 320, random), random, [&] {
            ipc_sender_flush(s, 0);
            all_of(p.theirs);
        });
        must(ipc_sender_flush(s, 0) >= 0, "a sender counts what is released");
        must(ipc_sender_close(s, 0) >= 0, "a sender closes");
        close(p.theirs);
    };
}

std::function<void(dice &)> to_a_pipe() {
    return [seed = said_by_a_sender(false)](dice &random) {
        pair p = make_pair(false);
        {
            reader r(url_of(p.theirs));
            for (std::size_t times = 1 + random.below(5); times-- != 0;)
                say(p.ours, changed(seed, chunk_header, random), random, [&] { r.take(random); });
            r.take(random);
        }
        close(p.ours);
    };
}

std::function<void(dice &)> to_a_datagram_socket() {
    auto r = std::make_shared<reader>("udp://127.0.0.1:0");
    std::string url = r->url();
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
    int to = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(connect(to, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0, "connect");
    // A chunk of a pipe is what a datagram is, as long as it is the only one of its message.
    std::string stream = said_by_a_sender(false);
    std::vector<std::string> seeds;
    for (std::size_t at = 0, next; at != stream.npos; at = next) {
        next = stream.find("ipcc", at + 1);
        seeds.push_back(stream.substr(at, next == stream.npos ? next : next - at));
    }
    return [=](dice &random) {
        std::string bytes = changed(seeds[random.below(seeds.size())], chunk_header, random);
        (void)!write(to, bytes.data(), std::min<std::size_t>(bytes.size(), 60'000));
        r->take(random);
    };
}

const std::map<std::string, std::function<std::function<void(dice &)>()>> targets = {
    {"hello", [] { return to_a_receiver(64); }},
    {"frames", [] { return to_a_receiver(300); }},
    {"answers", to_a_sender},
    {"chunks", to_a_pipe},
    {"datagrams", to_a_datagram_socket},
};

}  // namespace

int main(int argc, char **argv) {
    auto target = argc >= 3 ? targets.find(argv[1]) : targets.end();
    if (target == targets.end()) {
        std::fprintf(stderr, "usage: fuzz hello|frames|answers|chunks|datagrams SECONDS [SEED]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    std::chrono::duration<double> patience(std::strtod(argv[2], nullptr));
    std::uint64_t seed = argc > 3
                             ? std::strtoull(argv[3], nullptr, 10)
                             : static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
    std::printf("%s: seed %llu\n", argv[1], static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    dice random(seed);
    auto end = std::chrono::steady_clock::now() + patience;
    std::uint64_t tried = 0;
    while (std::chrono::steady_clock::now() < end) {
        auto try_one = target->second();  // another receiver now and then
        for (int i = 0; i < 2000 && std::chrono::steady_clock::now() < end; ++i, ++tried) try_one(random);
    }
    std::printf("%s: %llu inputs, nothing found\n", argv[1], static_cast<unsigned long long>(tried));
}
