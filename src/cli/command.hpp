// The command `ipc`: what its parts have in common. It uses ipc.hpp and nothing else of the library.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cli {

enum exit_code {  // or 128 and the number of the signal that ended it
    success = 0,
    failed = 1,       // in words on standard error
    usage = 2,        // the command line is wrong
    sender_died = 3,  // recv --until-end: what was written may be cut short
    timed_out = 124   // as timeout(1) has it
};

struct send_options {
    std::string url;
    std::vector<std::string> files;  // "-" or none: standard input
    std::uint64_t size = 0;          // bytes of a message at most; 0: as suits the channel
    bool lines = false;
    std::uint64_t tag = 0;
    double timeout = -1;  // seconds; -1: for ever
    bool quiet = false;
};
int send(const send_options &);

struct receive_options {
    std::string url;
    std::string to = "-";  // file; "-": standard output
    enum { raw, hex, json } format = raw;
    std::uint64_t count = 0;  // 0: without end
    bool until_end = false;
    std::uint64_t senders = 1;  // that have to end
    double timeout = -1;        // seconds; -1: for ever
    bool stats = false;
    bool quiet = false;
};
int receive(const receive_options &);

struct list_options {
    std::string url;  // empty: all
    bool json = false;
    bool watch = false;
};
int list(const list_options &);

}  // namespace cli
