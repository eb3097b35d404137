// Messages through a pipe, as chunks: several senders may share it, and one that stops or dies half-way in a message
// holds nobody up. There is no way back: nobody tells a sender what is released.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chunks.hpp"
#include "intake.hpp"
#include "outlet.hpp"
#include "roster.hpp"
#include "site.hpp"
#include "waiting/backoff.hpp"

namespace libipc::stream {

class fifo_source : public source {
  public:
    fifo_source() = default;
    fifo_source(site &s, intake &in);
    ~fifo_source() override;
    void resume(site &s, intake &in) override;
    void ready(bool, bool) override { serve(); }
    void room(std::uint32_t index) override;
    void dropped(std::uint32_t index) override;
    void alarm() override;
    void leave() override;

    template <class Archive>
    void hand_over(Archive &a) {
        a(ways_, writers_, own_namespace_, starved_, full_, short_, somebody_died_, owes_death_, raw_origin_,
          has_raw_origin_, heard_);
        a.rebuilt(site_, intake_);
    }

  protected:
    void read_from(fd pipe);  // throws failure
    // ... and from the one before, which has lost its name, until the last of its writers has gone. open() makes the
    // new one. Throws what that and memory throw, and nothing has changed then.
    template <class Open>
    void read_from_both(Open open) {
        add_way();
        try {
            read_on(open());
        } catch (...) {
            ways_.erase(ways_.begin());
            throw;
        }
        await_end_of(*ways_[1]);
    }
    // All writers have gone. Leaves in `pipe` what to read from until others come, or nothing if that can't be had now;
    // false: none will come.
    virtual bool reopen(fd &) { return false; }
    site *site_ = nullptr;

  private:
    class writer;
    class way;
    void add_way();
    void await_end_of(way &last);
    void serve();
    void serve(way &from);
    void want();
    bool read(way &from);
    bool read_raw(way &from);
    bool each_chunk(way &from);
    bool take(const chunk &c, std::span<const std::byte> payload);
    writer *writer_of(const chunk &c);
    void all_gone(way &from);
    void read_on(fd pipe);
    void bury();
    void starve(std::uint32_t index);
    void read_again();
    void wait_for_a_place();
    void short_of_memory();
    void unknown_died();
    std::uint32_t add(const chunk &c);  // throws

    intake *intake_ = nullptr;
    std::vector<std::unique_ptr<way>> ways_;  // the one that has a name first
    roster<std::unique_ptr<writer>> writers_;
    std::uint32_t own_namespace_ = 0;
    bool starved_ = false;  // nothing is read until there is room
    bool full_ = false;     // ... or until the user has taken some who have gone
    bool short_ = false;    // the user was told that there is no memory for somebody
    bool somebody_died_ = false;
    bool owes_death_ = false;
    std::uint32_t raw_origin_ = 0;
    bool has_raw_origin_ = false;
    bool heard_ = false;  // somebody has said who it is
};

// A pipe.
class fifo_source::way final : public watched {
  public:
    way() = default;
    way(fifo_source &home, site &s) : point(*s.uv, *this), home_(&home) {}  // throws bad_alloc
    void ready(bool, bool) override { home_->serve(*this); }
    void resume(fifo_source &home, site &s) {
        home_ = &home;
        point.resume(*s.uv, *this, pipe.get());
    }

    fd pipe;
    watch_point point;
    chunk_scanner in;

    template <class Archive>
    void hand_over(Archive &a) {
        a(pipe, point, in);
        a.rebuilt(home_);
    }

  private:
    fifo_source *home_ = nullptr;
};

// A sender, as seen by its chunks. Watched for its death.
class fifo_source::writer final : public watched {
  public:
    writer() = default;
    writer(fifo_source &home, const chunk &c, std::uint32_t index);  // throws failure
    void resume(fifo_source &home);                                  // throws failure
    void watch();                                                    // throws failure
    void ready(bool readable, bool writable) override;

    std::uint64_t sender = 0;
    std::uint32_t origin = 0;
    std::uint64_t sequence = 0;  // of the message whose chunks are coming
    std::uint64_t size = 0;      // ... in all
    std::uint64_t have = 0;      // ... of them here
    std::byte *place = nullptr;  // where they go; null: it is passed over
    bool dead = false;
    std::int32_t pid = 0;  // 0: it is watched, or can't be

    template <class Archive>
    void hand_over(Archive &a) {
        a(sender, origin, sequence, size, have);
        a.resource(place, static_cast<std::byte *>(nullptr));
        a(dead, pid, process_, point_);
        a.rebuilt(home_);
    }

  private:
    fifo_source *home_ = nullptr;
    fd process_;
    watch_point point_;
};

class fifo_outlet : public outlet {
  public:
    fifo_outlet() = default;
    fifo_outlet(site &s, outbox &out);
    void resume(site &s, outbox &out) override;
    void ready(bool readable, bool writable) override;
    void pump() override;
    bool linked() const override { return static_cast<bool>(pipe_); }
    bool dead() const override { return over_; }
    std::uint64_t most() const override;
    std::uint64_t settled() const override { return outbox_->sent(); }
    void alarm() override;
    void leave() override;

    template <class Archive>
    void hand_over(Archive &a) {
        a(pipe_, point_, signature_, blocked_, over_, adopted_, flag_known_, retry_, done_);
        a.rebuilt(site_, outbox_);
    }

  protected:
    void write_to(fd pipe);  // throws failure
    // Opens the pipe, or -errno if there is no reader yet. Throws failure if there will never be one.
    virtual int open(fd &pipe) = 0;
    // Tries, and again later.
    void begin();
    site *site_ = nullptr;

  private:
    void lost();
    class no_sigpipe;
    // False: not now, or never again.
    bool write(std::optional<no_sigpipe> &here, std::span<const iovec> parts, std::uint64_t &wrote);

    outbox *outbox_ = nullptr;
    fd pipe_;
    watch_point point_;
    chunk signature_{};
    bool blocked_ = false;
    bool over_ = false;
    bool adopted_ = false;
    bool flag_known_ = true;  // unless the system has said otherwise
    backoff retry_;
    std::uint64_t done_ = 0;  // bytes of the oldest message that are in the pipe
};

}  // namespace libipc::stream
