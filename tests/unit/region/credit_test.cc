#include "region/credit.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace vmm::region {
namespace {

struct CountingWaiter final : CreditWaiter {
  void credit_returned() noexcept override { ++rings; }
  std::atomic<int> rings{0};
};

TEST(Credit, TakesAllOrNothing) {
  Credit credit(100);
  EXPECT_TRUE(credit.try_charge(60));
  EXPECT_FALSE(credit.try_charge(41));
  EXPECT_EQ(credit.charged(), 60u);
  EXPECT_TRUE(credit.try_charge(40));
  EXPECT_EQ(credit.free(), 0u);
  credit.release(100);
  EXPECT_EQ(credit.free(), 100u);
}

TEST(Credit, NativeGuestsAndWithheldMemoryCountAgainstTheBudget) {
  Credit credit(100);
  credit.set_native(30);
  EXPECT_EQ(credit.consumed(), 30u);
  EXPECT_FALSE(credit.try_charge(71));
  credit.withhold(20);
  EXPECT_EQ(credit.usable(), 80u);
  EXPECT_EQ(credit.free(), 50u);
  EXPECT_FALSE(credit.try_charge(51));
  EXPECT_TRUE(credit.try_charge(50));
  // What is there already may exceed the budget; free memory is then none, not less than none.
  credit.charge(500);
  EXPECT_EQ(credit.free(), 0u);
  EXPECT_EQ(credit.consumed(), 580u);
  credit.withhold(1000);
  EXPECT_EQ(credit.usable(), 0u);
}

TEST(Credit, OnlyWhoWaitsIsRungAndOnlyOnce) {
  Credit credit(10);
  CountingWaiter waiter;
  credit.set_waiter(&waiter);
  ASSERT_TRUE(credit.try_charge(10));
  credit.release(1);
  EXPECT_EQ(waiter.rings, 0);
  credit.announce_wait();
  EXPECT_TRUE(credit.somebody_waits());
  credit.release(0);
  EXPECT_EQ(waiter.rings, 0) << "nothing came back";
  credit.release(1);
  EXPECT_EQ(waiter.rings, 1);
  credit.release(1);
  EXPECT_EQ(waiter.rings, 1);
  EXPECT_FALSE(credit.somebody_waits());
  credit.announce_wait();
  credit.set_native(0);
  EXPECT_EQ(waiter.rings, 2);
  credit.announce_wait();
  credit.withhold(0);
  EXPECT_EQ(waiter.rings, 3);
}

TEST(Credit, IsNeverExceededByManyThreads) {
  Credit credit(64);
  std::atomic<std::uint64_t> held{0}, most{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 1; t <= 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20000; ++i) {
        if (!credit.try_charge(t * 8)) continue;
        const auto now = held.fetch_add(t * 8) + t * 8;
        for (auto m = most.load(); m < now && !most.compare_exchange_weak(m, now);) {
        }
        held.fetch_sub(t * 8);
        credit.release(t * 8);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_LE(most, 64u);
  EXPECT_EQ(credit.charged(), 0u);
}

}  // namespace
}  // namespace vmm::region
