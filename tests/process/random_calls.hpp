// Random calls from a seed, beside a model that says what each may return. If one returns something else, the seed and
// the last calls are told. IPC_MODEL_SEED=N makes the same calls again, though ticks of the clock may fall elsewhere
// among them; IPC_MODEL_RUNS=N is for so many seeds, IPC_MODEL_CALLS=N tells so many calls.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>

#include "support.hpp"

namespace model {

struct wrong : std::runtime_error {
    using std::runtime_error::runtime_error;
};
inline void expect(bool holds, const std::string &otherwise) {
    if (!holds) throw wrong(otherwise);
}

struct range {
    std::uint64_t least = 0, most = 0;
    bool has(std::uint64_t n) const { return n >= least && n <= most; }
};
inline std::string wanted(const range &r) {
    return ": not from " + std::to_string(r.least) + " to " + std::to_string(r.most);
}

inline std::uint64_t number_from(const char *variable, std::uint64_t otherwise) {
    const char *text = std::getenv(variable);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// What a run begins with: what was called last is told.
class random_calls {
  public:
    std::string calls() const {
        std::string all;
        for (auto &call : calls_) all += "\n    " + call;
        return all;
    }

  protected:
    explicit random_calls(std::uint64_t seed) : random_(seed) {}
    template <class... Words>
    void say(const Words &...words) {
        std::ostringstream line;
        (line << ... << words);
        calls_.push_back(line.str());
        if (calls_.size() > most_) calls_.pop_front();
    }
    // Of a handle with a letter and a number.
    template <class Handle>
    std::int64_t result(const Handle &h, const std::string &call, std::int64_t r) {
        say(h.letter, h.number, ' ', call, ": ", r);
        return r;
    }
    static std::string with(const std::string &call, auto a) { return call + ' ' + std::to_string(a); }
    static std::string with(const std::string &call, auto a, std::int64_t b) {
        return with(call, a) + ", " + std::to_string(b);
    }

    template <class Senders, class Receivers>
    static void close_all(Senders &senders, Receivers &receivers) {
        for (auto &s : senders)
            if (s.h) ipc_sender_close(s.h, 0);
        for (auto &r : receivers) {
            for (auto &m : r.held)
                if (r.h) ipc_receiver_release(r.h, &m);
            if (r.h && r.open) ipc_receiver_close(r.h);
        }
    }

    dice random_;

  private:
    std::uint64_t most_ = number_from("IPC_MODEL_CALLS", 60);
    std::deque<std::string> calls_;
};

// Of a limit that was lowered.
inline bool is_lack(std::int64_t r) { return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOSPC; }

// One run for each seed: so many steps, and what has to be done at last.
template <class Run>
void run_seeds(std::uint64_t runs, int steps) {
    std::uint64_t first = number_from("IPC_MODEL_SEED", 1);
    runs = number_from("IPC_MODEL_RUNS", runs);
    for (std::uint64_t seed = first; seed < first + runs; ++seed) {
        Run calls(seed);
        try {
            for (int i = 0; i < steps; ++i) calls.step();
            calls.finish();
        } catch (const std::exception &e) {
            calls.lift();
            FAIL("seed " << seed << ": " << std::string(e.what()) << "; the last calls:" << calls.calls());
        }
    }
}

}  // namespace model
