// The command line of `ipc`.
#include <fcntl.h>
#include <ipc/ipc.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <charconv>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <sstream>

#include "command.hpp"
#include "say.hpp"
#include "usage.hpp"

namespace {

constexpr char examples[] = R"(
Examples:
  tar c folder | ipc send shm://x           in one terminal, and in another, whichever comes first:
  ipc recv shm://x --until-end | tar t
  ipc send shm://log --lines < app.log      a message for each line
  ipc recv "tcp://0.0.0.0:4000?allow=10.1.0.0/16" --until-end --to it
                                            from machines of that network: ipc send tcp://THIS:4000 it
  ipc recv shm://log --hex --count 10       what the next ten messages are
  ipc recv shm://log --json | jq -r .text   one object for each; its tag is a string, as it has 64 bits
  ipc list                                  who is on which channel, and how far behind
  ipc list shm://log --watch                the same of one channel, each second anew

Exit status: 0 success; 1 an error, in words on standard error; 2 the command line is wrong;
3 with recv --until-end, a sender died, and what was written may be cut short; 124 nothing went on for
--timeout; 130 ended by Ctrl-C, 143 by SIGTERM: a second one ends at once, without the last words.)";

// What is read into a number wraps around without a word otherwise.
CLI::Validator below_2_64() {
    return {[](const std::string &text) {
                std::uint64_t n;
                auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
                return error == std::errc() && end == text.data() + text.size()
                           ? ""
                           : text + " is no number from 0 to 2^64 - 1";
            },
            ""};
}

CLI::Validator at_least_1() {
    return {[](const std::string &text) {
                return below_2_64()(text).empty() && text.find_first_not_of('0') != text.npos
                           ? ""
                           : text + " is no number from 1 to 2^64 - 1";
            },
            ""};
}

CLI::Validator seconds() {
    return {[](const std::string &text) {
                double n = -1;  // and NaN is refused
                auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
                return error == std::errc() && end == text.data() + text.size() && n >= 0 && n <= 1e9
                           ? ""
                           : text + " is no number of seconds from 0 to 1e9";
            },
            ""};
}

// Leaves the number of bytes. Units are of 1024, whether they say so or not.
CLI::Validator size() {
    return {[in_bytes = CLI::AsSizeValue(false)](std::string &text) {
                constexpr std::uint64_t most = std::uint64_t{1} << 30;
                std::string given = text;
                try {
                    // A unit alone is one of it there.
                    if (std::isdigit(static_cast<unsigned char>(given.front())) && in_bytes(text).empty() &&
                        CLI::Range(std::uint64_t{1}, most)(text).empty())
                        return std::string();
                } catch (const CLI::ValidationError &) {
                    // Its words list thirty units.
                }
                return given +
                       " is no size from 1 byte to 1 GiB; write bytes, or a number with KiB or MiB, as in 64KiB";
            },
            ""};
}

CLI::Validator url() {
    return {[](const std::string &text) {
                return text.find("://") != text.npos ? "" : text + " is no URL; write shm://camera";
            },
            ""};
}

CLI::Validator file_name() {
    return {[](const std::string &text) { return text.empty() ? "no file has an empty name" : ""; }, ""};
}

// A stream that is closed is not taken by a descriptor of the library: its use fails.
void hold_standard_streams() {
    for (int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (fcntl(stream, F_GETFD) < 0 && open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) _exit(1);
}

// What stdio holds back may fail to be written.
int written(int status) {
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return status;
    cli::say("ipc: cannot write to standard output: {}\n", std::strerror(errno));
    return cli::failed;
}

CLI::App *add_send(CLI::App &app, cli::send_options &out) {
    CLI::App &command =
        *app.add_subcommand("send", "Sends files, or standard input, and waits until all, and the end, is received.");
    command
        .add_option("URL", out.url,
                    "shm://name, pipe:///path, fd://N, unix:///path, tcp://host:port, udp://host:port; then ?options")
        ->required()
        ->check(url());
    command
        .add_option(
            "FILE", out.files,
            "files to send, one after the other; none, or -, for standard input. An empty one is an empty message")
        ->check(file_name());
    command
        .add_option("--size", out.size,
                    "bytes of a message at most (64 KiB, or what the channel takes); with KB, MB as units of 1024")
        ->transform(size())
        ->type_name("SIZE");
    command.add_flag("--lines", out.lines, "a message for each line, its newline included");
    command.add_option("--tag", out.tag, "of each message, a number below 2^64 (0)")
        ->check(below_2_64())
        ->type_name("NUMBER");
    command.add_option("--timeout", out.timeout, "give up when nothing was taken for so many seconds")
        ->check(seconds())
        ->type_name("SECONDS");
    command.add_flag("-q,--quiet", out.quiet, "no progress line, and no word while it waits");
    return &command;
}

struct format_flags {
    bool hex = false, json = false;
};

CLI::App *add_receive(CLI::App &app, cli::receive_options &in, format_flags &format) {
    CLI::App &command = *app.add_subcommand("recv", "Receives, and writes the bytes to standard output.");
    command
        .add_option("URL", in.url,
                    "shm://name, pipe:///path, fd://N, unix:///path, tcp://host:port, udp://host:port; then ?options")
        ->required()
        ->check(url());
    auto *hex_flag = command.add_flag("--hex", format.hex, "each message as a hex dump");
    command
        .add_flag("--json", format.json, "each message as a line of JSON, with its bytes as hex and, in UTF-8, as text")
        ->excludes(hex_flag);
    command.add_option("--count", in.count, "end after so many messages, at least 1")
        ->check(at_least_1())
        ->type_name("NUMBER");
    command.add_option("--to", in.to, "a file to write to instead; -: standard output")
        ->type_name("FILE")
        ->check(file_name());
    auto *until_end = command.add_flag("--until-end", in.until_end, "end when every sender has ended");
    command.add_option("--senders", in.senders, "with --until-end: and so many have (1)")
        ->check(at_least_1())
        ->type_name("NUMBER")
        ->needs(until_end);
    command.add_option("--timeout", in.timeout, "give up when nothing came for so many seconds")
        ->check(seconds())
        ->type_name("SECONDS");
    command.add_flag("--stats", in.stats, "messages, bytes, rate, and what was lost, on standard error at the end");
    command.add_flag("-q,--quiet", in.quiet, "no progress line, and no word while it waits");
    return &command;
}

CLI::App *add_list(CLI::App &app, cli::list_options &shown) {
    CLI::App &command = *app.add_subcommand("list", "Shows every open sender and receiver of this user.");
    command.add_option("URL", shown.url, "those on this one alone")->check(url());
    command.add_flag("--json", shown.json, "a line of JSON for each");
    command.add_flag("--watch", shown.watch, "again each second, until Ctrl-C");
    return &command;
}

}  // namespace

int main(int argc, char **argv) {
    CLI::App app{"Sends and receives raw bytes between processes, and shows who does.", "ipc"};
    app.footer(examples);
    app.require_subcommand(1);
    app.failure_message([](const CLI::App *of, const CLI::Error &e) { return cli::words_of(*of, e); });
    app.set_version_flag("--version", ipc_version());
    cli::send_options out;
    cli::receive_options in;
    format_flags format;
    cli::list_options shown;
    CLI::App *send = add_send(app, out), *receive = add_receive(app, in, format), *list = add_list(app, shown);
    for (CLI::App *command : {send, receive, list}) {
        command->footer("");
        for (CLI::Option *flag : command->get_options([](const CLI::Option *o) { return o->get_expected_max() == 0; }))
            flag->disable_flag_override();
    }
    hold_standard_streams();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError &e) {
        std::ostringstream words;
        int code = app.exit(e, std::cout, words);
        cli::say_text(words.str());
        return code == 0 ? written(cli::success) : cli::usage;
    }
    in.format = format.hex    ? cli::receive_options::hex
                : format.json ? cli::receive_options::json
                              : cli::receive_options::raw;
    try {
        return written(*send ? cli::send(out) : *receive ? cli::receive(in) : cli::list(shown));
    } catch (const std::exception &e) {
        cli::say("ipc: {}\n", e.what());
        return cli::failed;
    }
}
