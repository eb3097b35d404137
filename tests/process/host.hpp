// A program that loads libipc by hand, and exchanges it for another build while its handles are open: the steps that
// ipc.h gives.
#pragma once

#include <dlfcn.h>
#include <ipc/ipc.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../abi/library.hpp"  // LIBRARY_FUNCTIONS

extern const std::string this_build;
extern const std::string next_build;  // the same sources, another version

// One loaded copy.
class copy {
  public:
    // The one that the program is linked to.
    copy() {
#define LINKED(name) this->name = ::name;
        LIBRARY_FUNCTIONS(LINKED)
#undef LINKED
    }
    // Loaded from a file of its own name, as a file that is known to it is not loaded again; no other sees that name.
    explicit copy(const std::string &build) {
        static std::atomic<int> number{0};
        name_ = std::filesystem::temp_directory_path() /
                ("ipc-copy-" + std::to_string(getpid()) + "-" + std::to_string(number++) + ".so");
        std::filesystem::copy_file(build, name_);
        library_ = dlopen(name_.c_str(), RTLD_NOW | RTLD_LOCAL);
        std::filesystem::remove(name_);
        if (!library_) throw std::runtime_error(dlerror());
#define LOAD(name) name = reinterpret_cast<decltype(name)>(found(#name));
        LIBRARY_FUNCTIONS(LOAD)
#undef LOAD
    }
    copy(const copy &) = delete;
    copy &operator=(const copy &) = delete;
    ~copy() {
        if (library_) dlclose(library_);
    }
    const std::string &name() const { return name_; }

#define MEMBER(name) decltype(&::name) name = nullptr;
    LIBRARY_FUNCTIONS(MEMBER)
#undef MEMBER

    // By role, for what is the same for both.
    auto freeze(ipc_sender *s, void *state, std::size_t size) const { return ipc_sender_freeze(s, state, size); }
    auto freeze(ipc_receiver *r, void *state, std::size_t size) const { return ipc_receiver_freeze(r, state, size); }
    auto adopt(ipc_sender **s, const std::vector<std::byte> &state, char *words, std::size_t size) const {
        return ipc_sender_adopt(s, state.data(), state.size(), words, size);
    }
    auto adopt(ipc_receiver **r, const std::vector<std::byte> &state, char *words, std::size_t size) const {
        return ipc_receiver_adopt(r, state.data(), state.size(), words, size);
    }
    auto forget(ipc_sender *s) const { return ipc_sender_forget(s); }
    auto forget(ipc_receiver *r) const { return ipc_receiver_forget(r); }

  private:
    void *found(const char *symbol) {
        if (void *f = dlsym(library_, symbol)) return f;
        throw std::runtime_error(dlerror());
    }
    std::string name_;
    void *library_ = nullptr;
};

// The state of a handle that is frozen now.
template <class Handle>
std::vector<std::byte> freeze(const copy &library, Handle *h) {
    std::vector<std::byte> state(static_cast<std::size_t>(library.freeze(h, nullptr, 0)));
    if (library.freeze(h, state.data(), state.size()) != static_cast<int>(state.size()))
        throw std::runtime_error("freeze");
    return state;
}

class host {
  public:
    explicit host(const std::string &build = this_build) : host(std::make_unique<copy>(build)) {}
    explicit host(std::unique_ptr<copy> first) : library(std::move(first)) {}
    ~host() {
        for (ipc_sender *s : senders) library->ipc_sender_close(s, 0);
        for (ipc_receiver *r : receivers) library->ipc_receiver_close(r);
    }

    std::size_t open_sender(const std::string &url, std::uint64_t capacity = 0) {
        ipc_sender_options options{sizeof options, capacity, 0};
        senders.emplace_back();
        opened(library->ipc_sender_open(&senders.back(), url.c_str(), &options, words, sizeof words));
        return senders.size() - 1;
    }
    std::size_t open_receiver(const std::string &url) {
        receivers.emplace_back();
        opened(library->ipc_receiver_open(&receivers.back(), url.c_str(), nullptr, words, sizeof words));
        return receivers.size() - 1;
    }

    // Goes over to another build with all handles. 0; or an error, for which `words` has the reason, and all is as it
    // was. The state number `damaged` is damaged on the way.
    int reload(const std::string &build, std::size_t damaged = ~std::size_t{0}) {
        return reload(std::make_unique<copy>(build), damaged);
    }
    int reload(std::unique_ptr<copy> next, std::size_t damaged = ~std::size_t{0}) {
        auto sender_states = freeze_all(senders), receiver_states = freeze_all(receivers);
        if (damaged < senders.size())
            sender_states[damaged].back() ^= std::byte{1};
        else if (damaged - senders.size() < receivers.size())
            receiver_states[damaged - senders.size()].back() ^= std::byte{1};
        std::vector<ipc_sender *> new_senders;
        std::vector<ipc_receiver *> new_receivers;
        int result = adopt_all(*next, sender_states, new_senders);
        if (result == 0) result = adopt_all(*next, receiver_states, new_receivers);
        if (result != 0) {
            if (damaged < senders.size())
                sender_states[damaged].back() ^= std::byte{1};
            else if (damaged - senders.size() < receivers.size())
                receiver_states[damaged - senders.size()].back() ^= std::byte{1};
            forget_all(*next, new_senders);
            forget_all(*next, new_receivers);
            thaw_all(senders, sender_states);
            thaw_all(receivers, receiver_states);
            return result;
        }
        forget_all(*library, std::exchange(senders, std::move(new_senders)));
        forget_all(*library, std::exchange(receivers, std::move(new_receivers)));
        library = std::move(next);
        return 0;
    }

    std::unique_ptr<copy> library;
    std::vector<ipc_sender *> senders;
    std::vector<ipc_receiver *> receivers;
    char words[512] = "";

  private:
    using states = std::vector<std::vector<std::byte>>;

    void opened(int result) const {
        if (result != 0) throw std::runtime_error(words);
    }
    template <class Handle>
    states freeze_all(const std::vector<Handle *> &handles) const {
        states all;
        for (Handle *h : handles) all.push_back(freeze(*library, h));
        return all;
    }
    template <class Handle>
    int adopt_all(const copy &next, const states &all, std::vector<Handle *> &handles) {
        for (const auto &state : all) {
            Handle *h = nullptr;
            if (int result = next.adopt(&h, state, words, sizeof words)) return result;
            handles.push_back(h);
        }
        return 0;
    }
    template <class Handle>
    static void forget_all(const copy &old, const std::vector<Handle *> &handles) {
        for (Handle *h : handles)
            if (old.forget(h) != 0) throw std::runtime_error("forget");
    }
    template <class Handle>
    void thaw_all(const std::vector<Handle *> &handles, const states &all) const {
        for (std::size_t i = 0; i < handles.size(); ++i) {
            Handle *h = nullptr;
            char none[2];
            if (library->adopt(&h, all[i], none, sizeof none) != 0 || h != handles[i]) throw std::runtime_error("thaw");
        }
    }
};
