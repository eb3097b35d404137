// URLs that are none, and names and options that a URL may not have. Each is refused in words that name the part which
// is wrong, and leaves nothing behind.
#include <cerrno>

#include "refusal.hpp"

static void refused_by_both(const std::string &url, int code, const std::string &part) {
    CAPTURE(url);
    refusal s = try_sender(url), r = try_receiver(url);
    CAPTURE(s);
    CHECK(s.code == code);
    CHECK(s.says(part));
    CHECK(s.says("cannot open a sender on "));
    CHECK(r.code == code);
    CHECK(r.says(part));
    CHECK(r.says("cannot open a receiver on "));
}

TEST_CASE_FIXTURE(scratch, "a URL without scheme is refused, and the words show one with it") {
    for (auto url : {"", "camera", "shm:/camera", "/tmp/camera", "shm"}) refused_by_both(url, -EINVAL, "shm://camera");
}

TEST_CASE_FIXTURE(scratch, "an unknown scheme is refused by its name") {
    refused_by_both("http://camera", -EPROTONOSUPPORT, "`http`");
    refused_by_both("SHM://camera", -EPROTONOSUPPORT, "`SHM`");
    refused_by_both("://camera", -EPROTONOSUPPORT, "``");
}

TEST_CASE_FIXTURE(scratch, "a scheme of a later version is told from an unknown one") {
    refused_by_both("nats://camera", -EOPNOTSUPP, "nats://");
}

TEST_CASE_FIXTURE(scratch, "a channel without a name is refused") {
    refused_by_both("shm://", -EINVAL, "no name");
    refused_by_both("shm://?x=1", -EINVAL, "no name");
}

TEST_CASE_FIXTURE(scratch, "a name of 64 characters is taken, and one of 65 refused") {
    CHECK(try_sender("shm://" + std::string(64, 'n')).code == 0);
    CHECK(try_receiver("shm://" + std::string(64, 'n')).code == 0);
    refused_by_both("shm://" + std::string(65, 'n'), -EINVAL, "65 characters");
}

TEST_CASE_FIXTURE(scratch, "a name that leaves the folder or hides in it is refused") {
    for (auto url : {"shm://..", "shm://.", "shm://.hidden", "shm://../camera"})
        refused_by_both(url, -EINVAL, "starts with a dot");
    for (auto url : {"shm:///camera", "shm://a/b", "shm://a/../b"}) refused_by_both(url, -EINVAL, "`/`");
}

TEST_CASE_FIXTURE(scratch, "a byte that no name may have is refused, and the words say which and where") {
    refused_by_both("shm://a b", -EINVAL, "` ` at place 2");
    refused_by_both("shm://camera#1", -EINVAL, "`#` at place 7");
    refused_by_both("shm://camera:80", -EINVAL, "`:` at place 7");
    refused_by_both("shm://user@camera", -EINVAL, "`@` at place 5");
    refused_by_both("shm://cam\xc3\xa9ra", -EINVAL, "byte 0xc3 at place 4");
    refused_by_both("shm://cam\xff", -EINVAL, "byte 0xff at place 4");
    refused_by_both("shm://cam\n", -EINVAL, "byte 0x0a at place 4");
}

TEST_CASE_FIXTURE(scratch, "every letter, digit, dot, underscore and hyphen can be in a name") {
    CHECK(try_sender("shm://ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz").code == 0);
    CHECK(try_receiver("shm://0123456789._-").code == 0);
    CHECK(try_sender("shm://-").code == 0);
    CHECK(try_receiver("shm://a..b").code == 0);
}

TEST_CASE_FIXTURE(scratch, "an unknown option is refused by its name, and those there are, are named") {
    for (std::string url : {"shm://t?size=1", "shm://t?Capacity=1MiB", "shm://t?size"}) {
        std::string key = url.substr(8, url.find('=') - 8);
        refused_by_both(url, -EINVAL, "`" + key + "`");
        CHECK(try_sender(url).says("capacity"));
        CHECK(try_receiver(url).says("overflow"));
    }
    refused_by_both("shm://t?&", -EINVAL, "empty");
}

TEST_CASE_FIXTURE(scratch, "an option of the other role is refused as such") {
    refusal s = try_sender("shm://t?from=oldest"), r = try_receiver("shm://t?capacity=1MiB");
    CAPTURE(s);
    CHECK(s.code == -EINVAL);
    CHECK(s.says("`from` is for a receiver"));
    CAPTURE(r);
    CHECK(r.code == -EINVAL);
    CHECK(r.says("`capacity` is for a sender"));
}

TEST_CASE_FIXTURE(scratch, "a value that an option does not have is refused, and those it has are named") {
    refusal from = try_receiver("shm://t?from=newest"), overflow = try_receiver("shm://t?overflow=drop");
    CAPTURE(from);
    CHECK(from.code == -EINVAL);
    CHECK(from.says("from=newest"));
    CHECK(from.says("from=latest"));
    CAPTURE(overflow);
    CHECK(overflow.code == -EINVAL);
    CHECK(overflow.says("overflow=drop`"));
    CHECK(overflow.says("overflow=block"));
    for (auto url : {"shm://t?from", "shm://t?from=", "shm://t?overflow="}) CHECK(try_receiver(url).code == -EINVAL);
}

TEST_CASE_FIXTURE(scratch, "a drop policy is refused as not in this version yet") {
    for (std::string policy : {"drop-oldest", "drop-newest"}) {
        refusal r = try_receiver("shm://t?overflow=" + policy);
        CAPTURE(r);
        CHECK(r.code == -EOPNOTSUPP);
        CHECK(r.says(policy));
        CHECK(r.says("overflow=block"));
    }
}

TEST_CASE_FIXTURE(scratch, "every option with a right value is taken, and counts") {
    CHECK(try_receiver("shm://t?from=oldest&overflow=block").code == 0);
    CHECK(try_receiver("shm://t?overflow=block&from=latest").code == 0);
    CHECK(try_sender("shm://t?").code == 0);
    CHECK(tx("shm://t?capacity=65536").stats().capacity == 65536);
    CHECK(tx("shm://t?capacity=68KiB").stats().capacity == 68 << 10);
    CHECK(tx("shm://t?capacity=2MiB").stats().capacity == 2 << 20);
}

TEST_CASE_FIXTURE(scratch, "the option in the URL counts, and not the one in the struct") {
    ipc_sender_options options{sizeof options, 1 << 20, 0};
    CHECK(tx("shm://t?capacity=64KiB", &options).stats().capacity == 64 << 10);
}

TEST_CASE_FIXTURE(scratch, "an endless URL leaves room for the reason") {
    for (const std::string &url :
         {"shm://" + std::string(100'000, 'n'), std::string(100'000, 'n'), std::string(100'000, 'n') + "://camera",
          "shm://t?" + std::string(100'000, 'n'), "shm://t?capacity=" + std::string(100'000, '9')}) {
        refusal s = try_sender(url);
        CAPTURE(s);
        CHECK(s.words.size() < 512);
        CHECK((s.says("shm://camera") || s.says("at most 64") || s.says("capacity")));
    }
}

TEST_CASE_FIXTURE(scratch, "what a URL brings does not move the cursor of whoever prints the words") {
    for (auto url : {"shm://t\x1b[2J", "\x1b[2J://t", "shm://t?\x1b[2J=1", "shm://t?capacity=\x1b[2J"}) {
        refusal s = try_sender(url);
        CHECK(s.code < 0);
        CHECK(s.words.find('\x1b') == s.words.npos);
    }
}

TEST_CASE_FIXTURE(scratch, "the words are cut to the buffer, and a buffer may be missing") {
    char words[16];
    std::memset(words, 'x', sizeof words);
    ipc_sender *s;
    CHECK(ipc_sender_open(&s, "shm://", nullptr, words, 8) == -EINVAL);
    CHECK(std::string(words) == "cannot ");
    CHECK(words[8] == 'x');
    CHECK(ipc_sender_open(&s, "shm://", nullptr, words, 1) == -EINVAL);
    CHECK(words[0] == 0);
    CHECK(ipc_sender_open(&s, "shm://", nullptr, words, 0) == -EINVAL);
    CHECK(ipc_sender_open(&s, "shm://", nullptr, nullptr, 0) == -EINVAL);
    CHECK(ipc_sender_open(&s, "shm://", nullptr, nullptr, 100) == -EINVAL);
    REQUIRE(ipc_sender_open(&s, "shm://t", nullptr, nullptr, 100) == 0);
    CHECK(ipc_sender_close(s, 0) == 0);
}
