// Answers each message of doubles on its standard input with their sum on its standard output, until its parent ends.
// Words are for standard error: standard output is the channel.
#include <array>
#include <ipc/ipc.hpp>
#include <numeric>

int main() {
    ipc::receiver questions("fd://0");
    ipc::sender answers("fd://1");
    while (auto event = questions.receive()) {
        if (event->what != ipc::event::message_came) break;  // the parent has ended, or died
        auto bytes = event->message.bytes();
        std::span numbers(reinterpret_cast<const double *>(bytes.data()), bytes.size() / sizeof(double));
        answers.send(std::array{std::accumulate(numbers.begin(), numbers.end(), 0.0)}, event->message.tag());
    }
    answers.close(ipc::forever);  // until the pipe has taken all
}
