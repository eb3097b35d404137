#include "failure.hpp"

#include <cerrno>
#include <cstring>

#include "printable.hpp"

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
    return "`" + printable(text.substr(0, most)) + (text.size() > most ? "...`" : "`");
}

}  // namespace libipc
