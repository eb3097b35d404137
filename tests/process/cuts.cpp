// A connection that is cut at any byte of a short conversation: nothing comes twice or damaged, and both sides count
// the same as lost. Some of all the cuts are tried; LIBIPC_ALL=1 in the environment tries many more.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>

#include "bare.hpp"
#include "transports.hpp"

namespace {

constexpr std::size_t never = std::numeric_limits<std::size_t>::max();
enum direction { to_receiver, to_sender };

// Where a connection breaks: after so many bytes in this direction.
struct cut {
    direction way = to_receiver;
    std::size_t after = never;
};

// Between a sender and a receiver. Each connection is cut in turn as told, the rest are left alone.
class proxy {
  public:
    proxy(const std::string &where, std::string to, std::vector<cut> cuts)
        : to_(std::move(to)), cuts_(std::move(cuts)) {
        listener_ = listen_bare(where);
        if (where.starts_with("unix://")) path_ = where.substr(7);
    }
    ~proxy() {
        hang_up();
        close(listener_);
        if (!path_.empty()) unlink(path_.c_str());
    }

    // True if anything went by.
    bool step() {
        if (ends_[0] < 0) {
            ends_[to_sender] = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (ends_[to_sender] < 0) return false;
            ends_[to_receiver] = connect_bare(to_);
            now_ = connections_ < cuts_.size() ? cuts_[connections_] : cut{};
            ++connections_;
            passed_ = {};
        }
        bool any = pass(to_receiver);
        return (ends_[0] >= 0 && pass(to_sender)) || any;
    }
    std::size_t cuts_made() const { return made_; }
    // Bytes that have gone each way by the last connection.
    std::size_t passed(direction way) const { return passed_[way]; }

  private:
    bool pass(direction way) {
        std::size_t left = now_.way == way ? now_.after - passed_[way] : never;
        char bytes[4096];
        if (left != 0) {
            int from = ends_[way == to_receiver ? to_sender : to_receiver];
            ssize_t n = recv(from, bytes, std::min(left, sizeof bytes), MSG_DONTWAIT);
            if (n < 0) return false;
            if (n == 0) return hang_up(), true;
            send(ends_[way], bytes, static_cast<std::size_t>(n), MSG_NOSIGNAL);
            passed_[way] += static_cast<std::size_t>(n);
            if (static_cast<std::size_t>(n) != left) return true;
        }
        ++made_;
        return hang_up(), true;
    }
    void hang_up() {
        for (int &end : ends_)
            if (end >= 0) close(std::exchange(end, -1));
    }

    std::string to_, path_;
    std::vector<cut> cuts_;
    int listener_ = -1;
    std::array<int, 2> ends_{-1, -1};  // the one that what goes this way is written to
    cut now_;
    std::array<std::size_t, 2> passed_{};
    std::size_t connections_ = 0, made_ = 0;
};

// A sender sends three messages and ends; its connections are cut as told. Returns how much went each way at last.
template <class T>
std::array<std::size_t, 2> converse(const std::vector<cut> &cuts) {
    scratch test;
    std::string behind = T::url(test.folder()), before = second_url<T>(behind, test.folder());
    rx r(behind);
    proxy between(before, behind, cuts);
    tx s(before);
    constexpr std::size_t sizes[] = {10, 0, 40};
    for (std::uint64_t i = 1; i <= 3; ++i) REQUIRE(s.send(i, sizes[i - 1]) == 0);
    s.end();
    std::string told;  // m: a message, e: the end, d: a death
    std::uint64_t last = 0, came = 0;
    auto receive = [&] {
        ipc_message m;
        int got = r.receive(m, 0);
        if (got < 0) return false;
        told += got == IPC_MESSAGE ? 'm' : got == IPC_END ? 'e' : 'd';
        if (got != IPC_MESSAGE) return true;
        CHECK(m.sequence > last);
        CHECK(m.tag == m.sequence);
        CHECK(m.size == sizes[m.sequence - 1]);
        CHECK(proven(m));
        last = m.sequence;
        ++came;
        CHECK(r.release(m) == 0);
        return true;
    };
    bool flushed = false;
    bool over = eventually([&] {
        do flushed = ipc_sender_flush(s, 0) == 0;
        while (between.step() | receive());
        return flushed && (told.ends_with('e') || told.ends_with('d'));
    });
    CAPTURE(told);
    CHECK(over);
    CHECK(came + r.stats().lost == 3);
    CHECK(s.stats().lost == r.stats().lost);
    CHECK(std::count(told.begin(), told.end(), 'e') <= 1);
    CHECK(told.find('e') >= told.size() - 1);
    CHECK(told.find("dd") == told.npos);
    CHECK(std::count(told.begin(), told.end(), 'd') <= static_cast<long>(between.cuts_made()));
    if (between.cuts_made() == 0) CHECK(told == "mmme");
    return {between.passed(to_receiver), between.passed(to_sender)};
}

bool all() { return std::getenv("LIBIPC_ALL") != nullptr; }

}  // namespace

TEST_CASE_TEMPLATE("a connection is cut at each byte, either way: nothing comes twice, and what is lost is counted", T,
                   CONNECTIONS) {
    auto whole = converse<T>({});
    REQUIRE(whole[to_receiver] > 200);
    REQUIRE(whole[to_sender] > 280);
    for (direction way : {to_receiver, to_sender})
        for (std::size_t at = 0; at <= whole[way]; at += all() ? 1 : 23) {
            CAPTURE(way);
            CAPTURE(at);
            converse<T>({{way, at}});
        }
}

TEST_CASE_TEMPLATE("a connection is cut, and the next one too: nothing comes twice, and what is lost is counted", T,
                   CONNECTIONS) {
    auto whole = converse<T>({});
    dice random(7);
    for (int i = 0; i < (all() ? 5'000 : 20); ++i) {
        auto somewhere = [&] {
            direction way = random.below(2) ? to_sender : to_receiver;
            return cut{way, random.below(whole[way] + 1)};
        };
        cut first = somewhere(), second = somewhere();
        CAPTURE(first.way);
        CAPTURE(first.after);
        CAPTURE(second.way);
        CAPTURE(second.after);
        converse<T>({first, second});
    }
}
