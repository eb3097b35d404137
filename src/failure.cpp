#include "failure.hpp"

#include <cstring>

namespace libipc {

std::string errno_words(int error) {
    const char *words = strerrordesc_np(error);
    return words ? words : fmt::format("error {}", error);
}

}  // namespace libipc
