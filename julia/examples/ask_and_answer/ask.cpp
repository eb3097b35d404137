// ask.cpp: asks for the sum of n and 10n, for each n from FIRST to LAST.
//     ask FIRST LAST
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ipc/ipc.hpp>
#include <string>

// The answer to question n. A server that has died, and was started again, may answer what was answered before.
static double answer_to(unsigned n, ipc::receiver &answers) {
    for (;;) {
        ipc::event event = *answers.receive();
        if (event.what == ipc::event::sender_ended) throw std::runtime_error("the server answers no more");
        if (event.what == ipc::event::message_came && event.message.tag() == n) return event.message.as<double>();
    }
}

int main(int count, char **arguments) try {
    if (count != 3) throw std::invalid_argument("ask FIRST LAST");
    ipc::sender questions("shm://questions");
    ipc::receiver answers("shm://answers." + std::to_string(questions.stats().id));  // for this asker alone
    const auto first = static_cast<unsigned>(std::atoi(arguments[1])),
               last = static_cast<unsigned>(std::atoi(arguments[2]));
    for (unsigned n = first; n <= last; ++n) {
        questions.send(std::array{1.0 * n, 10.0 * n}, n);
        questions.flush();  // until a server, this one or the next, has answered it
        std::printf("question %u: %.1f\n", n, answer_to(n, answers));
        std::fflush(stdout);
    }
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
