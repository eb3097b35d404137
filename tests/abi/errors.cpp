// The closed list of errors in ipc.h, and its words.
#include <doctest/doctest.h>

#include <cerrno>
#include <map>
#include <regex>
#include <set>
#include <string>

#include "library.hpp"

namespace {

#define CODE(name) \
    { "-" #name, -name }
const std::map<std::string, std::int32_t> codes = {
    CODE(EINVAL),
    CODE(EPROTONOSUPPORT),
    CODE(EOPNOTSUPP),
    CODE(EAGAIN),
    CODE(ETIMEDOUT),
    CODE(EINTR),
    CODE(ECANCELED),
    CODE(EMSGSIZE),
    CODE(EPIPE),
    CODE(ESTALE),
    CODE(EBUSY),
    CODE(EMFILE),
    CODE(ENFILE),
    CODE(ENOMEM),
    CODE(ENOSPC),
    CODE(EACCES),
    CODE(EPERM),
    CODE(ENOENT),
    CODE(ENOTDIR),
    CODE(ELOOP),
    CODE(EROFS),
    CODE(ENAMETOOLONG),
    CODE(EIO),
    CODE(ENOSYS),
    CODE(ETOOMANYREFS),
    CODE(EADDRINUSE),
    CODE(EADDRNOTAVAIL),
    {"IPC_EFORKED", IPC_EFORKED},
    {"IPC_EVERSION", IPC_EVERSION},
};

}  // namespace

TEST_CASE("the codes tested here are those that ipc.h lists") {
    std::string text = header_text();
    std::size_t start = text.find("/* Errors: negative."), end = text.find("};", start);
    REQUIRE(end != text.npos);
    text = text.substr(start, end - start);
    std::set<std::string> listed, tested;
    std::regex code("(-E[A-Z]+|IPC_E[A-Z]+ =)");
    for (std::sregex_iterator at(text.begin(), text.end(), code), none; at != none; ++at)
        listed.insert(std::regex_replace(at->str(), std::regex(" =$"), ""));
    for (auto &[name, value] : codes) tested.insert(name);
    CHECK(listed == tested);
}

TEST_CASE("every error has words of its own, and so has every result") {
    library ipc;
    std::string unknown = ipc.ipc_strerror(-4095);
    std::set<std::string> all;
    for (auto &[name, code] : codes) {
        CAPTURE(name);
        std::string words = ipc.ipc_strerror(code);
        CHECK(words.size() > 8);
        CHECK(words != unknown);
        CHECK_MESSAGE(all.insert(words).second, words);
    }
    for (std::int32_t code : {0, +IPC_MESSAGE, +IPC_END, +IPC_DIED}) {
        CHECK(std::string(ipc.ipc_strerror(code)) != unknown);
        CHECK(all.insert(ipc.ipc_strerror(code)).second);
    }
}

TEST_CASE("what is no code of the library gets words that say so") {
    library ipc;
    std::string unknown = ipc.ipc_strerror(-4095);
    for (std::int32_t code : {4, 12345, -4000, -4003, -100000, INT32_MAX, INT32_MIN})
        CHECK(ipc.ipc_strerror(code) == unknown);
}
