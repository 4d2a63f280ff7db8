#include "os/nice.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include <gtest/gtest.h>

#include "os/affinity.h"
#include "os/call.h"
#include "support/fault_injector.h"

namespace vmm::os {
namespace {

TEST(Nice, IsOfOneThread) {
  const auto before = thread_nice(0);
  ASSERT_TRUE(before) << before.error().message();
  std::thread([&] {
    ASSERT_TRUE(set_thread_nice(current_tid(), 19));
    EXPECT_EQ(::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid())), 19);
    EXPECT_EQ(thread_nice(0).value_or(-100), 19);
  }).join();
  EXPECT_EQ(thread_nice(0).value_or(-100), *before) << "the others keep theirs";
}

TEST(Nice, WhatCannotBeIsToldWithTheValue) {
  for (const int nice : {-21, 20, 1000}) {
    const auto r = set_thread_nice(0, nice);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code.value(), EINVAL);
    EXPECT_NE(r.error().message().find(std::to_string(nice)), std::string::npos) << r.error().message();
  }
  constexpr int kNoThread = 0x7ffffff0;
  EXPECT_FALSE(thread_nice(kNoThread));
  EXPECT_FALSE(set_thread_nice(kNoThread, 19));
}

TEST(Nice, WhetherItCanBeLoweredIsTriedAndLeavesNothing) {
  const auto before = thread_nice(0).value_or(-100);
  bool can = false;
  std::thread([&] {
    can = ::setpriority(PRIO_PROCESS, 0, 19) == 0 && ::setpriority(PRIO_PROCESS, 0, before) == 0;
  }).join();
  const auto told = can_lower_nice(before);
  ASSERT_TRUE(told) << told.error().message();
  EXPECT_EQ(*told, can);
  EXPECT_EQ(thread_nice(0).value_or(-100), before);
  const test::NthCallFails forbidden(Call::setpriority, 2, EACCES);
  EXPECT_FALSE(can_lower_nice(before).value_or(true));
}

}  // namespace
}  // namespace vmm::os
