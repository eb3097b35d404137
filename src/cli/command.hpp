// The command `ipc`: what its parts have in common. It uses ipc.hpp and nothing else of the library.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cli {

enum exit_code {
    success = 0,
    failed = 1,       // in words on standard error
    usage = 2,        // CLI11's errors of the command line
    sender_died = 3,  // recv --until-end: what was written may be cut short
    interrupted = 130
};

struct send_options {
    std::string url;
    std::vector<std::string> files;  // "-" or none: standard input
    std::uint64_t size = 0;          // bytes of a message at most; 0: as suits the channel
    bool lines = false;
    std::uint64_t tag = 0;
    bool quiet = false;
};
int send(const send_options &);

struct receive_options {
    std::string url;
    std::string to;  // file; empty: standard output
    enum { raw, hex, json } format = raw;
    std::uint64_t count = 0;  // 0: without end
    bool until_end = false;
    bool stats = false;
    bool quiet = false;
};
int receive(const receive_options &);

struct list_options {
    bool json = false;
};
int list(const list_options &);

}  // namespace cli
