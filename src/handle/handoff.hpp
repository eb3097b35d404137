// A handle's state as plain data, to be taken out of one loaded copy of the library and put into another.
//
// Each class of which a handle is made lists its members once:
//     template <class Archive> void hand_over(Archive &a) { a(first_, second_); a.rebuilt(third_); }
// and the archives below go over that list: to write the state, to read it, to let go of what another copy has now, and
// to tell whether another build has the same list. tests/unit/handoff.cpp finds a member that is not in its list.
//
// Only what the kernel knows goes over as it is: descriptors by number, mappings by address. What lies in the private
// memory of one copy (strings, vectors, objects) goes over by content.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace libipc {
struct handle_words;
}

namespace libipc::handoff {

// Raised with any change of a list, of its order, or of what a member means.
inline constexpr std::uint32_t version = 17;

inline constexpr std::uint64_t magic = 0x657a656572667069;  // "ipfreeze"

struct header {
    // These 16 bytes never change, whatever the version.
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t layout;
    std::uint32_t abi;
    std::int32_t role;
    std::uint64_t size;      // with this header
    std::uint64_t checksum;  // of all, with 0 here
    std::uint64_t shape;     // of the lists of members
    const handle_words *page;
    std::uint64_t turn;  // of the page, while the handle is frozen
    std::int32_t pid;
    std::uint32_t streams;  // 1: the handle is on pipes or sockets
};
static_assert(sizeof(header) == 72);

template <class Derived>
class archive {
  public:
    template <class... Members>
    void operator()(Members &...members) {
        (visit(members), ...);
    }
    // Members that the reading side makes anew out of the others.
    template <class... Members>
    void rebuilt(Members &...) {}

  private:
    Derived &self() { return static_cast<Derived &>(*this); }

    template <class T>
    void visit(T &member) {
        if constexpr (requires { member.hand_over(self()); }) {
            member.hand_over(self());
        } else {
            static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>, "this can't go over as it is");
            self().plain(&member, sizeof member);
        }
    }
    void visit(std::string &text) { visit_elements(text); }
    template <class T>
    void visit(std::vector<T> &elements) {
        visit_elements(elements);
    }
    template <class T>
    void visit(std::unique_ptr<T> &member) {
        if (visit_presence(member != nullptr) && !member) member = std::make_unique<T>();
        if (member) visit(*member);
    }
    template <class T>
    requires(!std::is_trivially_copyable_v<T>) void visit(std::optional<T> &member) {
        if (visit_presence(member.has_value()) && !member) member.emplace();
        if (member) visit(*member);
    }
    template <class Container>
    void visit_elements(Container &elements) {
        using element = typename Container::value_type;
        std::uint64_t count = self().count(elements.size());
        elements.resize(count);
        if constexpr (std::is_arithmetic_v<element> || std::is_enum_v<element>) {
            if (count != 0) self().plain(elements.data(), count * sizeof(element));
        } else {
            for (auto &e : elements) visit(e);
        }
    }
    bool visit_presence(bool present) { return self().count(present) != 0; }
};

// Writes as much as there is room for, and counts all.
class writer : public archive<writer> {
  public:
    explicit writer(std::span<std::byte> room) : room_(room) {}
    std::size_t size() const { return size_; }

    void plain(const void *bytes, std::size_t size) {
        if (size_ + size <= room_.size()) std::memcpy(room_.data() + size_, bytes, size);
        size_ += size;
    }
    std::uint64_t count(std::uint64_t n) { return plain(&n, sizeof n), n; }
    // A descriptor or an address; `none` is what is left where it goes away from.
    template <class T>
    void resource(T &member, T) {
        plain(&member, sizeof member);
    }

  private:
    std::span<std::byte> room_;
    std::size_t size_ = 0;
};

// Whether `state` can be adopted in this copy, now; throws failure in words.
header check(std::span<const std::byte> state, std::int32_t role);

// Reads what a writer of the same shape has written.
class reader : public archive<reader> {
  public:
    // Throws failure if this copy's handles have another shape.
    reader(std::span<const std::byte> state, const header &head, std::uint64_t shape);
    std::uint64_t turn() const { return turn_; }

    void plain(void *bytes, std::size_t size);
    std::uint64_t count(std::uint64_t) {
        std::uint64_t n;
        return plain(&n, sizeof n), n;
    }
    template <class T>
    void resource(T &member, T) {
        plain(&member, sizeof member);
    }

  private:
    std::span<const std::byte> rest_;
    std::uint64_t turn_;
};

// Lets go of descriptors and mappings, so that the destructors leave them alone.
class leaver : public archive<leaver> {
  public:
    void plain(const void *, std::size_t) {}
    std::uint64_t count(std::uint64_t n) { return n; }
    template <class T>
    void resource(T &member, T none) {
        member = none;
    }
};

// Makes `core` what `state` says; rebuild() makes the members that are not in it. Throws, and has taken nothing then.
template <class Core, class Rebuild>
void adopt(Core &core, reader &state, Rebuild rebuild) {
    try {
        core.hand_over(state);
        rebuild();
        core.owner().await(state.turn());
    } catch (...) {
        leaver leave;
        core.hand_over(leave);
        throw;
    }
}

// A number for the lists of members and their sizes. Two builds that differ in it can't read each other's state, even
// if somebody forgot to raise `version`.
class shape : public archive<shape> {
  public:
    std::uint64_t value() const { return value_; }

    void plain(const void *, std::size_t size) { mix(size); }
    // One of each, present or not.
    std::uint64_t count(std::uint64_t) { return mix(0), 1; }
    template <class T>
    void resource(T &, T) {
        mix(sizeof(T));
    }

  private:
    void mix(std::uint64_t n) { value_ = (value_ ^ n) * 0x100000001b3; }
    std::uint64_t value_ = 0xcbf29ce484222325;
};

template <class Core>
std::uint64_t shape_of() {
    Core empty;
    shape s;
    empty.hand_over(s);
    return s.value();
}

// Makes the header of a state that is otherwise complete.
void seal(std::span<std::byte> state, header head);

// Writes the state of `core`, which is part of `handle`, and freezes it; returns the size of the state. If there is
// less room, nothing has changed.
template <class Core>
std::size_t freeze(Core &core, void *handle, std::span<std::byte> room) {
    std::uint64_t shape = shape_of<Core>();
    writer rest(room.subspan(std::min(sizeof(header), room.size())));
    core.hand_over(rest);
    std::size_t size = sizeof(header) + rest.size();
    if (size > room.size()) return size;
    header head{};
    head.role = Core::role;
    head.streams = Core::streams;
    head.shape = shape;
    head.page = core.owner().page();
    head.turn = core.owner().freeze(handle);
    seal(room.first(size), head);
    return size;
}

const char *name_of(std::int32_t role);

}  // namespace libipc::handoff
