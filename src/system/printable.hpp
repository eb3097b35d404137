// Text from outside, as it harms no terminal. The command uses it, too.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace libipc {

inline std::string printable(std::string_view text) {
    std::string shown(text);
    for (std::size_t i = 0; i < shown.size(); ++i) {
        auto c = static_cast<unsigned char>(shown[i]);
        if (c < ' ' || c == 0x7f) shown[i] = '?';
        // From U+0080 to U+009F, which a terminal may obey, too.
        if (c == 0xc2 && i + 1 < shown.size() && (shown[i + 1] & 0xe0) == 0x80) shown[i] = shown[i + 1] = '?';
    }
    return shown;
}

}  // namespace libipc
