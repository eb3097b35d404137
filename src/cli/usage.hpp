// What is said to somebody whose command line is wrong.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace cli {

std::string words_of(const CLI::App &, const CLI::Error &);

}  // namespace cli
