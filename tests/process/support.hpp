// What nearly every test with several processes needs: a scratch runtime folder, roles, handles, limits, and the check
// that nothing is left.
#pragma once

#include <doctest/doctest.h>
#include <ipc/ipc.h>

#include "support/dice.hpp"
#include "support/handles.hpp"
#include "support/left_behind.hpp"
#include "support/roles.hpp"
#include "support/scratch.hpp"
#include "support/waiting.hpp"
