// Names on disk: the runtime folder, a channel's folder in it, and the sockets in that.
//   r<layout version>-<receiver id>.<n>   a listening receiver; n counts how often its name was made again
//   s<layout version>-<sender id>.<n>     a sender's datagram socket, to be knocked on
//   .new-<random>                         a receiver between bind and listen: nobody connects to it
// No name is used twice, so a refused one is dead for ever and may be unlinked by anybody: see also litter.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "system/os.hpp"

namespace libipc {

struct handle_name {
    std::uint32_t version;
    std::uint64_t id;
    std::uint32_t times;
};

std::string receiver_name_text(const handle_name &name);
std::string sender_name_text(const handle_name &name);
std::optional<handle_name> parse_receiver_name(std::string_view text);
std::optional<handle_name> parse_sender_name(std::string_view text);

// Whoever leaves last removes the folder, perhaps between our opening it and our binding in it; a cleaner of /tmp
// deletes what it finds, perhaps between our binding and our renaming. So often it is tried again.
inline constexpr int most_tries = 100;

class channel_folder {
  public:
    channel_folder() = default;
    // Makes what is missing; throws failure if the runtime folder can't be used, in words.
    static channel_folder open(const std::string &runtime, const std::string &channel);
    // The folder at `path` if it is there and ours alone; else one that holds nothing. Makes nothing, throws bad_alloc.
    static channel_folder find(std::string path);

    // Throws words: `tried` was not to be done here, because of `error`.
    [[noreturn]] void fail(const char *tried, int error) const;
    int get() const { return folder_.get(); }
    const std::string &path() const { return path_; }

    std::vector<std::string> names() const;  // none if they can't be read
    // Whoever opens the channel now finds the name: in this folder, which is still there.
    bool finds(const std::string &name) const;
    void unlink(const std::string &name) const;
    // True if it was a name of ours whose owner is gone. A living owner notices nothing. The name has to come from
    // names(), which waits for a bind that is under way: the name is seen before it can be connected to.
    bool unlink_if_dead(const std::string &name) const;
    int rename(const std::string &from, const std::string &to) const;  // 0 or -errno
    // The folder that open() would find now is this one.
    bool still_there() const;
    // Removes the folder if nothing is in it.
    void remove_if_empty() const;

    // Each on a socket of AF_UNIX: 0 or -errno. Folders of any length: names are reached through /proc/self/fd.
    int bind(int socket, const std::string &name) const;
    int connect(int socket, const std::string &name) const;
    int knock(int socket, const std::string &name) const;

    template <class Archive>
    void hand_over(Archive &a) {
        a(path_, folder_);
    }

  private:
    std::string path_;
    fd folder_;
};

}  // namespace libipc
