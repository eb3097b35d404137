#include "failure.hpp"

#include <cerrno>
#include <cstring>

namespace libipc {

std::string errno_words(int error) {
    const char *words = strerrordesc_np(error);
    if (!words) return fmt::format("error {}", error);
    if (error == EMFILE) return fmt::format("{}; close some descriptors, or raise `ulimit -n`", words);
    if (error == ENFILE) return fmt::format("{}; close some descriptors, or raise fs.file-max", words);
    return words;
}

std::string quoted(std::string_view text) {
    constexpr std::size_t most = 100;
    std::string shown = "`";
    for (char c : text.substr(0, most)) shown += static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? '?' : c;
    return shown + (text.size() > most ? "...`" : "`");
}

}  // namespace libipc
