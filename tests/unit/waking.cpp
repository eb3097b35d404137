// The parts of the waking protocol, each alone. That together they lose no wake-up is shown by waking_model.cpp.
#include "waiting/waking.hpp"

#include <doctest/doctest.h>

using namespace libipc;
using word = layout::shared<std::uint32_t>;

TEST_CASE("a waker must fence unless it is told that it need not") {
    word unfenced{0};
    CHECK(waker_must_fence(unfenced));
    unfenced = 1;
    CHECK_FALSE(waker_must_fence(unfenced));
    CHECK(unfenced == 1);
}

TEST_CASE("a waker rings once for a sleep, and the sleeper's word is 0 then") {
    word asleep{0};
    CHECK_FALSE(waker_must_ring(asleep));
    CHECK(asleep == 0);
    asleep = 1;
    CHECK(waker_must_ring(asleep));
    CHECK(asleep == 0);
    CHECK_FALSE(waker_must_ring(asleep));
    layout::shared<std::uint64_t> wants{4096};
    CHECK(waker_must_ring(wants));
    CHECK(wants == 0);
}

TEST_CASE("the leave to go unfenced is given after many messages without a sleep, and taken back once") {
    word unfenced{0};
    fence_leave leave;
    for (std::uint32_t i = 1; i < fence_leave::after; ++i) leave.count(true, unfenced);
    CHECK(unfenced == 0);
    CHECK_FALSE(leave.take_back(unfenced));
    for (std::uint32_t i = 1; i < fence_leave::after; ++i) leave.count(true, unfenced);
    CHECK(unfenced == 0);  // the sleep began the count again
    leave.count(true, unfenced);
    CHECK(unfenced == 1);
    CHECK(leave.take_back(unfenced));
    CHECK(unfenced == 0);
    CHECK_FALSE(leave.take_back(unfenced));
}

TEST_CASE("the leave is not given where a membarrier can't take it back, and is once it can") {
    word unfenced{0};
    fence_leave leave;
    for (std::uint32_t i = 0; i < 3 * fence_leave::after; ++i) leave.count(false, unfenced);
    CHECK(unfenced == 0);
    CHECK_FALSE(leave.take_back(unfenced));
    for (std::uint32_t i = 0; i < fence_leave::after; ++i) leave.count(true, unfenced);
    CHECK(unfenced == 1);
}

TEST_CASE("this kernel has the membarrier that the protocol uses") {
    CHECK(register_membarrier());
    membarrier_global();
}
