// answer.cpp: answers messages of doubles with their sum, to each who asks on a channel of its own.
#include <iostream>
#include <ipc/ipc.hpp>
#include <map>
#include <numeric>

int main() {
    ipc::receiver questions("shm://questions");
    std::map<std::uint64_t, ipc::sender> answers;  // by the id of who asks
    while (auto event = questions.receive()) {
        if (event->what != ipc::event::message_came) {  // who asked has ended, or died
            answers.erase(event->sender);
            continue;
        }
        auto [place, first] = answers.try_emplace(event->sender);
        ipc::sender &asker = place->second;
        try {
            if (first) asker = ipc::sender("shm://answers." + std::to_string(event->sender) + "?capacity=1MiB");
            auto numbers = event->message.as_span<double>();
            double sum = std::accumulate(numbers.begin(), numbers.end(), 0.0);
            if (asker) asker.send(sum, event->message.tag(), std::chrono::seconds(1));
        } catch (const std::system_error &error) {  // the others do not wait for one who takes no answers
            std::cerr << error.what() << '\n';
            asker.close();
        }
    }
}
