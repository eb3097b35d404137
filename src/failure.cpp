#include "failure.hpp"

#include <cstring>

namespace libipc {

std::string errno_words(int error) {
    const char *words = strerrordesc_np(error);
    return words ? words : fmt::format("error {}", error);
}

std::string quoted(std::string_view text) {
    constexpr std::size_t most = 100;
    std::string shown = "`";
    for (char c : text.substr(0, most)) shown += static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? '?' : c;
    return shown + (text.size() > most ? "...`" : "`");
}

}  // namespace libipc
