// Measurements in turn, round after round, so that what the machine does meanwhile meets them all.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace bench {

struct limits {
    unsigned fewest = 5, most = 15;  // rounds
    double seconds = 1e9;            // no further round is begun if all, with what comes after, would not end by then
};

class rounds {
  public:
    // `measure` measures once and returns the series that has to settle, the value just added at its end. A group is
    // measured until all its medians have settled: its members are compared with each other.
    using job = std::function<const std::vector<double> &()>;
    void add(const std::string &group, const std::string &what, double seconds, job measure);

    // What comes after the rounds takes this long.
    void expect_more(double seconds) { more_s_ += seconds; }

    // Returns the number of rounds. Tells on standard error what it does, and how long it will take.
    unsigned run(const limits &);
    // The groups that had not settled at the last round.
    const std::vector<std::string> &unsettled() const { return unsettled_; }
    // What was not measured to the end, and why: each is given up at its first failure, and the others go on.
    const std::vector<std::string> &failed() const { return failed_; }

  private:
    struct task {
        std::string group, what;
        double seconds;  // it takes: first a guess, then what it took last
        job measure;
        const std::vector<double> *series = nullptr;
        bool failed = false;
    };
    std::vector<task> tasks_;
    std::vector<std::string> unsettled_, failed_;
    double more_s_ = 0;
};

// A line that shows what is going on, in place on a terminal, elsewhere now and then; "" takes it away.
void show_progress(const std::string &);
std::string duration_text(double seconds);

}  // namespace bench
