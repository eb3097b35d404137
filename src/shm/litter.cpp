#include "litter.hpp"

#include <algorithm>
#include <vector>

#include "folder.hpp"
#include "system/os.hpp"

namespace libipc {

namespace {

// At each open so many channels, beginning with any, and so many names in all: what it takes does not grow with them.
constexpr std::size_t most_channels = 16, most_names = 64;

// How many names it has.
std::size_t clear(const channel_folder &channel, std::size_t most) {
    std::vector<std::string> names = channel.names();
    std::size_t looked_at = std::min(names.size(), most);
    bool empty = looked_at == names.size();
    for (std::size_t n = 0; n < looked_at; ++n) empty &= channel.unlink_if_dead(names[n]);
    if (empty) channel.remove_if_empty();
    return looked_at;
}

}  // namespace

void clear_litter(const std::string &runtime) {
    std::vector<std::string> channels = channel_folder::find(runtime).names();
    std::size_t first = random_id(), names = most_names;
    for (std::size_t n = 0; n < std::min(channels.size(), most_channels); ++n)
        names -= clear(channel_folder::find(runtime + "/" + channels[(first + n) % channels.size()]), names);
}

}  // namespace libipc
