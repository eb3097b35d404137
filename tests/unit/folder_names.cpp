#include <doctest/doctest.h>

#include "shm/folder.hpp"

using namespace libipc;

TEST_CASE("a receiver's name tells its layout version, its id and how often it was made") {
    CHECK(receiver_name_text({1, 0xfeed, 0}) == "r1-000000000000feed.0");
    for (handle_name name : {handle_name{1, 1, 0}, {0, 0, 0}, {~0u, ~std::uint64_t{0}, ~0u}, {2, 0x123456789, 17}}) {
        auto read = parse_receiver_name(receiver_name_text(name));
        REQUIRE(read);
        CHECK(read->version == name.version);
        CHECK(read->id == name.id);
        CHECK(read->times == name.times);
    }
}

TEST_CASE("what is no receiver's name is not taken for one") {
    for (const char *other : {"",
                              "r",
                              "r1",
                              "r1-",
                              "r1-00ff",
                              "r1-00ff.",
                              "r1-.0",
                              "r-00ff.0",
                              "r1-00fg.0",
                              "r1-00ff.0x",
                              "r1-00ff.0 ",
                              " r1-00ff.0",
                              "r1-00ff.-1",
                              "r-1-00ff.0",
                              "R1-00ff.0",
                              "r1-00ff-0",
                              "r1.00ff.0",
                              "s1-000000000000feed.0",
                              ".new-000000000000feed",
                              "r4294967296-00ff.0",
                              "r1-10000000000000000.0",
                              "r1-00ff.4294967296"})
        CHECK_MESSAGE(!parse_receiver_name(other), other);
}

TEST_CASE("a sender's name is no receiver's, and the other way round") {
    CHECK(sender_name_text({1, 0xfeed, 3}) == "s1-000000000000feed.3");
    auto read = parse_sender_name(sender_name_text({2, 0xfeed, 3}));
    REQUIRE(read);
    CHECK(read->version == 2);
    CHECK(read->id == 0xfeed);
    CHECK(read->times == 3);
    CHECK_FALSE(parse_receiver_name(sender_name_text({1, 0xfeed, 3})));
    CHECK_FALSE(parse_sender_name(receiver_name_text({1, 0xfeed, 0})));
    CHECK_FALSE(parse_sender_name(".new-000000000000feed"));
}

TEST_CASE("names of the same handle, made again, and of different handles are different") {
    CHECK(receiver_name_text({1, 5, 0}) != receiver_name_text({1, 5, 1}));
    CHECK(receiver_name_text({1, 5, 0}) != receiver_name_text({1, 6, 0}));
    CHECK(receiver_name_text({1, 0x51, 0}) != receiver_name_text({1, 5, 10}));
    CHECK(sender_name_text({1, 5, 0}) != sender_name_text({1, 5, 1}));
}
