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
    std::string shown(text.substr(0, most));
    for (std::size_t i = 0; i < shown.size(); ++i) {
        auto c = static_cast<unsigned char>(shown[i]);
        if (c < ' ' || c == 0x7f) shown[i] = '?';
        // From U+0080 to U+009F, which a terminal may obey, too.
        if (c == 0xc2 && i + 1 < shown.size() && (shown[i + 1] & 0xe0) == 0x80) shown[i] = shown[i + 1] = '?';
    }
    return "`" + shown + (text.size() > most ? "...`" : "`");
}

}  // namespace libipc
