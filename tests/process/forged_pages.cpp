// Status pages that no handle of the library has written: any process of the user can make a memory file of that name.
// ipc_channel_list passes over what can't be, and shows nothing that would harm whoever prints it.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <random>

#include "forge.hpp"
#include "lowered_limit.hpp"

using namespace forge;

namespace {

// A page that is right until it is spoilt.
struct forged_page {
    explicit forged_page(std::size_t bytes = 4096) : file(memfd_create("ipc:forged", MFD_CLOEXEC)) {
        page.magic = layout::status_magic;
        page.version = layout::version;
        page.size = sizeof page;
        page.id = 0xf02ced;
        page.pid = getpid();
        page.role = IPC_SENDER;
        std::strcpy(page.url, "shm://forged");
        REQUIRE(ftruncate(file.get(), static_cast<off_t>(bytes)) == 0);
    }
    void write(std::size_t bytes = sizeof(layout::status_page)) {
        REQUIRE(pwrite(file.get(), static_cast<void *>(&page), bytes, 0) == static_cast<ssize_t>(bytes));
    }
    layout::status_page page{};
    descriptor file;
};

// The forged entries among all that there are.
std::vector<ipc_channel> forged_entries() {
    std::vector<ipc_channel> all(1000);
    all[0].struct_size = sizeof(ipc_channel);
    int count = ipc_channel_list(all.data(), all.size());
    REQUIRE(count >= 0);
    all.resize(std::min<std::size_t>(all.size(), static_cast<std::size_t>(count)));
    std::erase_if(all, [](const ipc_channel &c) { return c.id != 0xf02ced || c.pid != getpid(); });
    return all;
}

}  // namespace

TEST_CASE_FIXTURE(scratch, "a page that keeps to the format is listed") {
    forged_page f;
    f.write();
    auto listed = forged_entries();
    REQUIRE(listed.size() == 1);
    CHECK(std::string(listed[0].url) == "shm://forged");
}

TEST_CASE_FIXTURE(scratch, "a page that is no handle's is passed over, and others are still listed") {
    rx r;
    std::size_t bytes = 4096;
    std::function<void(layout::status_page &)> spoil = [](layout::status_page &) {};
    SUBCASE("magic") {
        spoil = [](auto &p) { p.magic += 1; };
    }
    SUBCASE("size") {
        spoil = [](auto &p) { p.size = 8; };
    }
    SUBCASE("role") {
        spoil = [](auto &p) { p.role = 3; };
    }
    SUBCASE("time") {
        spoil = [](auto &p) { p.updated_ns = INT64_MIN; };
    }
    SUBCASE("more links than a page has") {
        spoil = [](auto &p) { p.links = p.shown = layout::status_links + 1; };
    }
    SUBCASE("a link's state") {
        spoil = [](auto &p) {
            p.links = p.shown = 2;
            p.link[1].state = IPC_LINK_UNLINKED + 1;
        };
    }
    SUBCASE("a link's state, negative") {
        spoil = [](auto &p) {
            p.links = p.shown = 1;
            p.link[0].state = -1;
        };
    }
    SUBCASE("another's process") {
        spoil = [](auto &p) { p.pid = 1; };
    }
    SUBCASE("no bytes") { bytes = 0; }
    SUBCASE("too few bytes") { bytes = 100; }
    forged_page f(bytes);
    spoil(f.page);
    f.write(std::min(bytes, sizeof f.page));
    CHECK(forged_entries().empty());
    CHECK(ipc_channel_list(nullptr, 0) >= 1);
}

TEST_CASE_FIXTURE(scratch, "a page whose writer is stopped within a write for ever is listed as it is") {
    forged_page f;
    f.page.turn.store(7);
    f.write();
    CHECK(forged_entries().size() == 1);
}

TEST_CASE_FIXTURE(scratch, "a page's texts end, and move nobody's cursor") {
    forged_page f;
    std::memset(f.page.url, '\x1b', sizeof f.page.url);
    std::memset(f.page.folder, '"', sizeof f.page.folder);
    f.write();
    auto listed = forged_entries();
    REQUIRE(listed.size() == 1);
    CHECK(std::string(listed[0].url) == std::string(sizeof f.page.url - 1, '?'));
    CHECK(std::string(listed[0].folder) == std::string(sizeof f.page.folder - 1, '?'));
}

TEST_CASE_FIXTURE(scratch, "a page whose positions contradict each other has no figure below zero") {
    forged_page f;
    f.page.backlog = 7;
    f.page.shown = 3;  // and links says none
    f.page.link[0].delivered = 10;
    f.page.link[0].released = 20;
    f.page.link[1].committed = UINT64_MAX;
    f.page.link[2].delivered = UINT64_MAX;
    f.write();
    auto listed = forged_entries();
    REQUIRE(listed.size() == 1);
    CHECK(listed[0].links == 3);
    CHECK(listed[0].backlog == 7);
    CHECK(listed[0].link[0].behind == IPC_UNKNOWN);
    CHECK(listed[0].link[0].held == 0);
    CHECK(listed[0].link[1].behind == UINT64_MAX);
    CHECK(listed[0].link[2].behind == IPC_UNKNOWN);
}

TEST_CASE_FIXTURE(scratch, "a page that speaks for the peer of another process's handle is not believed") {
    std::string url = "shm://believed-" + std::to_string(getpid());
    child s = sender(url), r = receiver(url);
    s.ask("send 1 10 100");
    s.ask("unreleased");
    auto own = [&] {
        std::vector<ipc_channel> all(1000);
        all[0].struct_size = sizeof(ipc_channel);
        all.resize(static_cast<std::size_t>(ipc_channel_list(all.data(), all.size())));
        std::erase_if(all, [&](const ipc_channel &c) { return c.url != url || c.pid == getpid(); });
        return all;
    };
    auto before = own();
    REQUIRE(before.size() == 2);
    forged_page f;
    std::strcpy(f.page.url, url.c_str());
    f.page.id = before[1].id;
    f.page.role = IPC_RECEIVER;
    f.page.links = f.page.shown = 1;
    f.page.link[0].peer = before[0].id;
    f.page.link[0].pid = before[0].pid;
    f.page.link[0].delivered = UINT64_MAX;
    f.write();
    auto after = own();
    REQUIRE(after.size() == 2);
    CHECK(after[0].link[0].behind == before[0].link[0].behind);
    CHECK(after[0].link[0].behind > 1000);
}

TEST_CASE_FIXTURE(scratch, "a page from the future is not of a negative age") {
    forged_page f;
    f.page.updated_ns = INT64_MAX;
    f.write();
    auto listed = forged_entries();
    REQUIRE(listed.size() == 1);
    CHECK(listed[0].age_ns == 0);
}

TEST_CASE_FIXTURE(scratch, "random pages are listed or passed over") {
    std::uint32_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    forged_page f;
    for (int i = 0; i < 50; ++i) {
        auto *bytes = reinterpret_cast<unsigned char *>(&f.page);
        for (std::size_t b = random() % 2 ? 16 : 0; b < sizeof f.page; ++b)
            bytes[b] = static_cast<unsigned char>(random());
        f.page.pid = getpid();
        f.page.size = sizeof f.page;
        f.page.role = 1 + static_cast<std::int32_t>(random() % 3);
        f.page.shown %= layout::status_links + 2;
        for (auto &link : f.page.link) link.state &= 3;
        f.write();
        std::vector<ipc_channel> all(1000);
        all[0].struct_size = sizeof(ipc_channel);
        int count = ipc_channel_list(all.data(), all.size());
        CHECK(count >= 0);
        for (std::size_t n = 0; n < static_cast<std::size_t>(count) && n < 1000; ++n) {
            CHECK(std::strlen(all[n].url) < sizeof all[n].url);
            CHECK(std::strlen(all[n].folder) < sizeof all[n].folder);
            CHECK(all[n].shown <= IPC_SHOWN_LINKS);
            CHECK(all[n].shown <= all[n].links);
        }
    }
}

TEST_CASE_FIXTURE(scratch, "a list without descriptors to look with is an error, and not an empty one") {
    rx r;
    for (rlim_t free : {0, 1, 2}) {
        few_fds few(free);
        CHECK(ipc_channel_list(nullptr, 0) == -EMFILE);
    }
    CHECK(ipc_channel_list(nullptr, 0) >= 1);
}
