// udp://host:port: a message is a datagram, and no datagram is sure to arrive, or once, or in order. What is lost,
// comes twice or late is counted and marked, and nothing is put right.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "address.hpp"
#include "chunks.hpp"
#include "intake.hpp"
#include "outlet.hpp"
#include "roster.hpp"

namespace libipc::stream {

class udp_source final : public source {
  public:
    udp_source() = default;
    udp_source(site &s, intake &in);  // throws failure
    void resume(site &s, intake &in) override;
    std::string url() const override;
    void ready(bool readable, bool writable) override;
    void dropped(std::uint32_t index) override;
    void leave() override;
    template <class Archive>
    void hand_over(Archive &a) {
        a(bound_, allowed_, socket_, point_, records_, ended_);
        a.rebuilt(site_, intake_, room_);
    }

  private:
    static constexpr std::uint64_t window = 1024;  // sequences looked back for a message that comes twice
    // What came of one sender, to tell what is missing.
    struct record {
        std::uint64_t sender = 0;
        address from{};
        std::uint32_t origin = 0;
        std::uint64_t first = 0, highest = 0;
        std::uint64_t came = 0;     // different ones
        std::uint64_t dropped = 0;  // ... for want of room
        std::array<std::uint64_t, window / 64> seen{};

        std::uint64_t &word(std::uint64_t sequence) { return seen[sequence % window / 64]; }
        static std::uint64_t bit(std::uint64_t sequence) { return std::uint64_t{1} << (sequence % 64); }

        std::uint32_t note(std::uint64_t sequence);  // what this one is: 0, IPC_LATE, IPC_DUPLICATE
        std::uint64_t lost() const {
            std::uint64_t expected = highest - first + 1;
            return dropped + (expected > came ? expected - came : 0);
        }
    };

    void take(std::span<const std::byte> datagram, const address &from);
    template <class F>
    void count_lost(record &r, F change);
    void keep(record &r, std::span<const std::byte> payload, std::uint64_t tag, std::uint64_t sequence,
              std::uint32_t flags);
    void drop_foreign() { ++intake_->counters.foreign; }
    void drop_unknown() { ++intake_->counters.lost; }  // there is no room for its sender
    void remember_end(std::uint64_t sender);
    record *record_of(std::uint64_t sender, std::uint64_t sequence, const address &from);

    site *site_ = nullptr;
    intake *intake_ = nullptr;
    address bound_;
    allowed allowed_;
    fd socket_;
    watch_point point_;
    std::vector<std::byte> room_;  // where datagrams are read to
    roster<record> records_;
    struct nothing {};
    roster<nothing> ended_;  // senders of which nothing more is taken
};

class udp_outlet final : public outlet {
  public:
    udp_outlet() = default;
    udp_outlet(site &s, outbox &out);  // throws failure
    void resume(site &s, outbox &out) override;
    void ready(bool readable, bool writable) override;
    bool linked() const override { return true; }
    std::uint64_t most() const override;
    std::uint64_t settled() const override { return outbox_->sent(); }
    std::uint64_t lost() const override { return lost_; }
    void pump() override;
    void leave() override { pump(); }
    template <class Archive>
    void hand_over(Archive &a) {
        a(there_, socket_, point_, signature_, blocked_, refused_in_a_row_, lost_);
        a.rebuilt(site_, outbox_);
    }

  private:
    site *site_ = nullptr;
    outbox *outbox_ = nullptr;
    address there_;
    fd socket_;
    watch_point point_;
    chunk signature_{};
    bool blocked_ = false;
    int refused_in_a_row_ = 0;
    std::uint64_t lost_ = 0;
};

}  // namespace libipc::stream
