#include "system/failure.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <cerrno>

using namespace libipc;

TEST_CASE("an error has the system's words for it, and a number where the system has none") {
    CHECK(errno_words(ENOENT) == "No such file or directory");
    CHECK(errno_words(123456) == "error 123456");
}

TEST_CASE("a failure carries its code and its words") {
    try {
        fail(-ENOSPC, "{} bytes are {} too many", 7, "much");
    } catch (const failure &f) {
        CHECK(f.code == -ENOSPC);
        CHECK(f.words == "7 bytes are much too many");
    }
}

TEST_CASE("a descriptor that was made is owned, and one that was not is a failure that says what to do") {
    int number = open("/dev/null", O_RDONLY | O_CLOEXEC);
    {
        fd owner = made(number, "a test");
        CHECK(owner.get() == number);
    }
    CHECK(fcntl(number, F_GETFD) == -1);
    try {
        made(-EMFILE, "an eventfd");
        FAIL("no failure");
    } catch (const failure &f) {
        CHECK(f.code == -EMFILE);
        CHECK(f.words == "cannot make an eventfd: Too many open files; close some descriptors, or raise `ulimit -n`");
    }
}

TEST_CASE("a caller's text is shown in backticks, in one line and not at any length") {
    CHECK(quoted("camera") == "`camera`");
    CHECK(quoted("") == "``");
    CHECK(quoted("a\nb\x1b[2J\x7f") == "`a?b?[2J?`");
    CHECK(quoted("\xc2\x9b"
                 "2J") == "`??2J`");
    CHECK(quoted("\xc2\xa0\xc2") == "`\xc2\xa0\xc2`");
    CHECK(quoted("\xc3\xa4") == "`\xc3\xa4`");
    CHECK(quoted(std::string(100, 'x')) == "`" + std::string(100, 'x') + "`");
    CHECK(quoted(std::string(101, 'x')) == "`" + std::string(100, 'x') + "...`");
}
