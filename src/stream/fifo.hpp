// Messages through a pipe, as chunks: several senders may share it, and one that stops or dies half-way in a message
// holds nobody up. There is no way back: nobody tells a sender what is released.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chunks.hpp"
#include "intake.hpp"
#include "outlet.hpp"
#include "site.hpp"

namespace libipc::stream {

class fifo_source : public source, private watched {
  public:
    fifo_source(site &s, intake &in);
    ~fifo_source() override;
    void room(std::uint32_t index) override;
    void dropped(std::uint32_t index) override;
    void leave() override;

  protected:
    void read_from(fd pipe);  // throws failure
    // All writers have gone. Leaves in `pipe` what to read from until others come; false: none will.
    virtual bool reopen(fd &) { return false; }
    site &site_;

  private:
    class writer;
    void ready(bool readable, bool writable) override;
    bool read();
    bool read_raw();
    bool take(const chunk &c, std::span<const std::byte> payload);
    writer *writer_of(const chunk &c);
    void all_gone();
    void bury();
    void starve(std::uint32_t index);

    intake &intake_;
    fd pipe_;
    watch_point point_;
    chunk_scanner in_;
    std::vector<std::unique_ptr<writer>> writers_;
    std::uint32_t own_namespace_;
    bool starved_ = false;
    bool somebody_died_ = false;
    std::uint32_t raw_origin_ = 0;
    bool has_raw_origin_ = false;
    bool heard_ = false;  // somebody has said who it is
};

class fifo_outlet : public outlet, private watched {
  public:
    fifo_outlet(site &s, outbox &out);
    void pump() override;
    bool linked() const override { return static_cast<bool>(pipe_); }
    bool dead() const override { return over_; }
    std::uint64_t most() const override;
    std::uint64_t settled() const override { return outbox_.sent(); }
    void alarm() override;
    void leave() override;

  protected:
    void write_to(fd pipe);  // throws failure
    // Opens the pipe, or -errno if there is no reader yet. Throws failure if there will never be one.
    virtual int open(fd &pipe) = 0;
    // Tries, and again later.
    void begin();
    site &site_;

  private:
    void ready(bool readable, bool writable) override;
    void lost();
    class no_sigpipe;
    bool write(no_sigpipe &here, std::byte *payload, std::size_t bytes, const std::byte *header);

    outbox &outbox_;
    fd pipe_;
    watch_point point_;
    chunk signature_{};
    bool blocked_ = false;
    bool over_ = false;
    bool adopted_ = false;
    std::int64_t retry_ns_ = 0;
    std::uint64_t done_ = 0;  // bytes of the oldest message that are in the pipe
};

}  // namespace libipc::stream
