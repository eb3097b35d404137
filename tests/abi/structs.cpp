// Every public struct, member by member. A test that fails here because ipc.h was changed on purpose wants a new
// IPC_ABI_VERSION with the change: programs are out there that were built with the old one.
#include <doctest/doctest.h>
#include <ipc/ipc.h>

#include <regex>
#include <string>
#include <vector>

#include "library.hpp"

namespace {

struct member {
    const char *name;
    std::size_t offset, size;
    std::size_t wanted_offset, wanted_size;
};
struct layout {
    const char *name;
    std::size_t size, wanted_size, align;
    std::vector<member> members;
};

#define STRUCT(type, size, ...)                                   \
    {                                                             \
#type, sizeof(type), size, alignof(type), { __VA_ARGS__ } \
    }
#define MEMBER(type, name, offset, size) \
    { #name, offsetof(type, name), sizeof(type::name), offset, size }

const layout structs[] = {
    STRUCT(ipc_message, 64,  //
           MEMBER(ipc_message, struct_size, 0, 8), MEMBER(ipc_message, data, 8, 8), MEMBER(ipc_message, size, 16, 8),
           MEMBER(ipc_message, tag, 24, 8), MEMBER(ipc_message, sequence, 32, 8), MEMBER(ipc_message, sender, 40, 8),
           MEMBER(ipc_message, flags, 48, 4), MEMBER(ipc_message, link, 52, 4), MEMBER(ipc_message, position, 56, 8)),
    STRUCT(ipc_sender_options, 24,  //
           MEMBER(ipc_sender_options, struct_size, 0, 8), MEMBER(ipc_sender_options, capacity, 8, 8),
           MEMBER(ipc_sender_options, max_capacity, 16, 8)),
    STRUCT(ipc_receiver_options, 16,  //
           MEMBER(ipc_receiver_options, struct_size, 0, 8), MEMBER(ipc_receiver_options, from, 8, 4),
           MEMBER(ipc_receiver_options, overflow, 12, 4)),
    STRUCT(ipc_sender_counters, 112,  //
           MEMBER(ipc_sender_counters, struct_size, 0, 8), MEMBER(ipc_sender_counters, id, 8, 8),
           MEMBER(ipc_sender_counters, capacity, 16, 8), MEMBER(ipc_sender_counters, used, 24, 8),
           MEMBER(ipc_sender_counters, messages, 32, 8), MEMBER(ipc_sender_counters, bytes, 40, 8),
           MEMBER(ipc_sender_counters, unreleased, 48, 8), MEMBER(ipc_sender_counters, links, 56, 8),
           MEMBER(ipc_sender_counters, waits, 64, 8), MEMBER(ipc_sender_counters, bells, 72, 8),
           MEMBER(ipc_sender_counters, refused, 80, 8), MEMBER(ipc_sender_counters, unlinked, 88, 8),
           MEMBER(ipc_sender_counters, lost, 96, 8), MEMBER(ipc_sender_counters, largest, 104, 8)),
    STRUCT(ipc_receiver_counters, 152,  //
           MEMBER(ipc_receiver_counters, struct_size, 0, 8), MEMBER(ipc_receiver_counters, id, 8, 8),
           MEMBER(ipc_receiver_counters, messages, 16, 8), MEMBER(ipc_receiver_counters, bytes, 24, 8),
           MEMBER(ipc_receiver_counters, held, 32, 8), MEMBER(ipc_receiver_counters, ends, 40, 8),
           MEMBER(ipc_receiver_counters, deaths, 48, 8), MEMBER(ipc_receiver_counters, links, 56, 8),
           MEMBER(ipc_receiver_counters, skipped, 64, 8), MEMBER(ipc_receiver_counters, waits, 72, 8),
           MEMBER(ipc_receiver_counters, bells, 80, 8), MEMBER(ipc_receiver_counters, refused, 88, 8),
           MEMBER(ipc_receiver_counters, waiting_for_fds, 96, 8), MEMBER(ipc_receiver_counters, watching, 104, 8),
           MEMBER(ipc_receiver_counters, lost, 112, 8), MEMBER(ipc_receiver_counters, duplicated, 120, 8),
           MEMBER(ipc_receiver_counters, reordered, 128, 8), MEMBER(ipc_receiver_counters, foreign, 136, 8),
           MEMBER(ipc_receiver_counters, unheard, 144, 8)),
    STRUCT(ipc_link, 80,  //
           MEMBER(ipc_link, struct_size, 0, 8), MEMBER(ipc_link, peer, 8, 8), MEMBER(ipc_link, pid, 16, 4),
           MEMBER(ipc_link, state, 20, 4), MEMBER(ipc_link, lack, 24, 4), MEMBER(ipc_link, reserved, 28, 4),
           MEMBER(ipc_link, committed, 32, 8), MEMBER(ipc_link, delivered, 40, 8), MEMBER(ipc_link, released, 48, 8),
           MEMBER(ipc_link, behind, 56, 8), MEMBER(ipc_link, skipped, 64, 8), MEMBER(ipc_link, lost, 72, 8)),
    STRUCT(ipc_channel_link, 56,  //
           MEMBER(ipc_channel_link, peer, 0, 8), MEMBER(ipc_channel_link, pid, 8, 4),
           MEMBER(ipc_channel_link, state, 12, 4), MEMBER(ipc_channel_link, lack, 16, 4),
           MEMBER(ipc_channel_link, reserved, 20, 4), MEMBER(ipc_channel_link, behind, 24, 8),
           MEMBER(ipc_channel_link, held, 32, 8), MEMBER(ipc_channel_link, skipped, 40, 8),
           MEMBER(ipc_channel_link, lost, 48, 8)),
    STRUCT(ipc_channel, 3968,  //
           MEMBER(ipc_channel, struct_size, 0, 8), MEMBER(ipc_channel, url, 8, 256),
           MEMBER(ipc_channel, folder, 264, 256), MEMBER(ipc_channel, id, 520, 8), MEMBER(ipc_channel, pid, 528, 4),
           MEMBER(ipc_channel, role, 532, 4), MEMBER(ipc_channel, layout, 536, 4), MEMBER(ipc_channel, links, 540, 4),
           MEMBER(ipc_channel, messages, 544, 8), MEMBER(ipc_channel, bytes, 552, 8),
           MEMBER(ipc_channel, backlog, 560, 8), MEMBER(ipc_channel, capacity, 568, 8),
           MEMBER(ipc_channel, skipped, 576, 8), MEMBER(ipc_channel, lost, 584, 8), MEMBER(ipc_channel, age_ns, 592, 8),
           MEMBER(ipc_channel, shown, 600, 8), MEMBER(ipc_channel, link, 608, 3360)),
    STRUCT(ipc_channel_view, 272,  //
           MEMBER(ipc_channel_view, struct_size, 0, 8), MEMBER(ipc_channel_view, folder, 8, 256),
           MEMBER(ipc_channel_view, hidden, 264, 8)),
};

}  // namespace

TEST_CASE("every member of every public struct lies where ABI 1 has it") {
    CHECK(IPC_ABI_VERSION == 1);
    for (const layout &s : structs) {
        CAPTURE(s.name);
        CHECK(s.size == s.wanted_size);
        CHECK(s.align == 8);
        bool part = std::string(s.name) == "ipc_channel_link";  // of ipc_channel
        CHECK((std::string(s.members[0].name) == "struct_size") != part);
        for (const member &m : s.members) {
            CAPTURE(m.name);
            CHECK(m.offset == m.wanted_offset);
            CHECK(m.size == m.wanted_size);
        }
    }
}

TEST_CASE("the members fill their structs: none is missing here, and no padding lies between") {
    for (const layout &s : structs) {
        CAPTURE(s.name);
        std::size_t end = 0;
        for (const member &m : s.members) {
            CAPTURE(m.name);
            CHECK(m.offset == end);
            end = m.offset + m.size;
        }
        CHECK(end == s.size);
    }
}

TEST_CASE("the structs listed here are all that ipc.h defines") {
    std::vector<std::string> defined, listed;
    std::string text = header_text();
    std::regex definition("typedef struct (ipc_[a-z_]+) \\{");
    for (std::sregex_iterator at(text.begin(), text.end(), definition), end; at != end; ++at)
        defined.push_back((*at)[1]);
    for (const layout &s : structs) listed.push_back(s.name);
    CHECK(defined == listed);
}

TEST_CASE("the constants have the values of ABI 1") {
    CHECK(IPC_MESSAGE == 1);
    CHECK(IPC_END == 2);
    CHECK(IPC_DIED == 3);
    CHECK(IPC_EFORKED == -4001);
    CHECK(IPC_EVERSION == -4002);
    CHECK(IPC_REDELIVERED == 1);
    CHECK(IPC_FROM_DEFAULT == 0);
    CHECK(IPC_FROM_OLDEST == 1);
    CHECK(IPC_FROM_LATEST == 2);
    CHECK(IPC_OVERFLOW_BLOCK == 0);
    CHECK(IPC_LINK_CONNECTING == 0);
    CHECK(IPC_LINK_UP == 1);
    CHECK(IPC_LINK_ENDED == 2);
    CHECK(IPC_LINK_LEFT == 3);
    CHECK(IPC_LINK_UNLINKED == 4);
    CHECK(IPC_SHOWN_LINKS == 60);
    CHECK(IPC_SENDER == 1);
    CHECK(IPC_RECEIVER == 2);
}
