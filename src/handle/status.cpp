#include "status.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "system/fence.hpp"
#include "system/os.hpp"
#include "url.hpp"

namespace libipc {

namespace {

template <std::size_t N>
void put(char (&to)[N], std::string_view text) {
    std::memset(to, 0, N);
    text.copy(to, N - 1);
}

}  // namespace

status_page::status_page(const endpoint &e, std::uint64_t id, int role, std::string_view folder)
    : memory_(make_status_memory("ipc:" + e.name, 4096)) {
    auto *page = new (memory_.map.get()) layout::status_page{};
    page->version = layout::version;
    page->size = sizeof *page;
    page->id = id;
    page->pid = getpid();
    page->role = role;
    page->updated_ns = now_ns();
    put(page->url, e.url);
    put(page->folder, folder);
    page->magic = layout::status_magic;
}

void status_page::rename(std::string_view url) {
    put(reinterpret_cast<layout::status_page *>(memory_.map.get())->url, url);
}

void status_page::show(const status_figures &figures, const shown_links &links) {
    auto *page = reinterpret_cast<layout::status_page *>(memory_.map.get());
    std::uint64_t turn = page->turn.load(std::memory_order_relaxed);  // nobody else writes it
    page->turn.store(turn + 1, std::memory_order_relaxed);
    full_fence();  // the odd turn is seen before any of what follows
    page->messages = figures.messages;
    page->bytes = figures.bytes;
    page->backlog = figures.backlog;
    page->capacity = figures.capacity;
    page->skipped = figures.skipped;
    page->lost = figures.lost;
    page->links = static_cast<std::uint32_t>(figures.links);
    page->shown = static_cast<std::uint32_t>(links.get().size());
    std::ranges::copy(links.get(), page->link);
    page->updated_ns = coarse_now_ns();
    page->turn.store(turn + 2, std::memory_order_release);  // ... and the even one after all of it
}

}  // namespace libipc
