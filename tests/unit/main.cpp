#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "system/failure.hpp"

// What the core throws is no std::exception: its words are for the log of a test that did not expect it.
REGISTER_EXCEPTION_TRANSLATOR(libipc::failure &f) { return f.words.c_str(); }
