#include "usage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>
#include <vector>

#include "../system/printable.hpp"
#include "say.hpp"

namespace cli {

namespace {

// How many letters have to be put in, taken out or changed to make one of the other.
std::size_t distance(std::string_view from, std::string_view to) {
    std::vector<std::size_t> row(to.size() + 1);
    std::iota(row.begin(), row.end(), 0);
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < to.size(); ++j) {
            std::size_t changed = diagonal + (from[i] != to[j]);
            diagonal = row[j + 1];
            row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
        }
    }
    return row.back();
}

// It has the letters of the other in their order, and few besides, as receive has those of recv.
bool is_longer_form(std::string_view word, std::string_view of) {
    std::size_t found = 0;
    for (char c : word)
        if (found < of.size() && c == of[found]) ++found;
    return found == of.size() && word.size() <= 2 * of.size();
}

// The one that was meant, perhaps: in words, or nothing.
std::string nearest(std::string_view word, const std::vector<std::string> &known) {
    auto best = std::ranges::min_element(known, {}, [&](const std::string &k) { return distance(word, k); });
    if (best == known.end() || distance(word, *best) > std::max<std::size_t>(word.size() / 3, 2))
        best = std::ranges::find_if(known, [&](const std::string &k) { return is_longer_form(word, k); });
    if (best == known.end()) return "";
    return fmt::format("; did you mean {}?", *best);
}

std::vector<std::string> names_of_commands(const CLI::App &app) {
    std::vector<std::string> names;
    for (const CLI::App *command : app.get_subcommands([](const CLI::App *) { return true; }))
        names.push_back(command->get_name());
    return names;
}

std::vector<std::string> names_of_options(const CLI::App &app) {
    std::vector<std::string> names;
    for (const CLI::Option *option : app.get_options())
        for (const std::string &name : option->get_lnames()) names.push_back("--" + name);
    return names;
}

std::string unknown(const CLI::App &app, const std::string &word) {
    if (word.starts_with('-'))
        return fmt::format("there is no option {}{}", word, nearest(word, names_of_options(app)));
    if (app.get_parent()) return fmt::format("{} is one argument too many", word);
    return fmt::format("there is no command {}{}", word, nearest(word, names_of_commands(app)));
}

std::string what_is_wrong(const CLI::App &app, const CLI::Error &error) {
    auto is = [&](CLI::ExitCodes code) { return error.get_exit_code() == static_cast<int>(code); };
    bool lacks = is(CLI::ExitCodes::RequiredError);
    // A word that is unknown is the reason for what is missing.
    if (std::vector<std::string> rest = app.remaining(); !rest.empty() && (lacks || is(CLI::ExitCodes::ExtrasError)))
        return unknown(app, rest.front());
    std::string words = error.what();
    if (std::size_t end = words.find(" was given a disallowed flag override"); end != words.npos)
        return (end == 1 ? "-" : "--") + words.substr(0, end) + " takes no value";
    std::size_t needs = words.find(": 1 required "), missing = words.rfind(" missing");
    if (needs != words.npos && missing != words.npos)
        return fmt::format("{} is to be followed by {}", words.substr(0, needs),
                           words.substr(needs + 13, missing - needs - 13));
    if (!lacks) return words;
    return app.get_parent() ? "a URL is missing: the channel's, as in shm://camera" : "a command is missing";
}

}  // namespace

std::string words_of(const CLI::App &app, const CLI::Error &error) {
    std::vector<CLI::App *> commands = app.get_subcommands();
    if (commands.empty())
        return fmt::format("ipc: {}\nThe commands are {}; `ipc --help` says more.\n",
                           libipc::printable(what_is_wrong(app, error)), fmt::join(names_of_commands(app), ", "));
    const CLI::App &command = *commands.front();
    std::string name = "ipc " + command.get_name();
    std::string how = CLI::Formatter().make_usage(&command, name);
    return fmt::format("{}: {}\n{}\n`{} --help` says more.\n", name, libipc::printable(what_is_wrong(command, error)),
                       how.substr(0, how.find('\n')), name);
}

}  // namespace cli
