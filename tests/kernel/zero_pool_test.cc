#include "region/zero_pool.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "os/poller.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using region::ZeroPool;
using test::NodeRig;

constexpr std::uint64_t kChunk = kHugePageSize / kPageSize;
constexpr std::uint64_t kBudget = ZeroPool::kPartOfBudget * ZeroPool::kSlots * kChunk;

class ZeroPoolTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = test::unable(test::kMove); !why.empty()) GTEST_SKIP() << why;
    test::RigOptions options;
    options.zero_pool = true;
    options.budget_pages = kBudget;
    rig_ = std::make_unique<NodeRig>(test::kMove, options);
  }
  ZeroPool& pool() { return *rig_->zero_pool(); }
  std::unique_ptr<NodeRig> rig_;
};

TEST_F(ZeroPoolTest, RefillIsChargedAndBounded) {
  for (std::size_t i = 1; i <= ZeroPool::kSlots; ++i) {
    EXPECT_TRUE(pool().refill());
    EXPECT_EQ(pool().ready(), i);
    EXPECT_EQ(rig_->credit().charged(), i * kChunk);
  }
  EXPECT_FALSE(pool().refill()) << "full";
  EXPECT_EQ(pool().drain(), ZeroPool::kSlots);
  EXPECT_EQ(pool().ready(), 0u);
  EXPECT_EQ(rig_->credit().charged(), 0u);
}

TEST_F(ZeroPoolTest, HoldsALittleOfASmallBudgetOnly) {
  for (const auto& [chunks, slots] : {std::pair{1u, 1u}, {64u, 2u}, {1024u, 32u}, {100'000u, 32u}}) {
    region::Credit credit(chunks * kChunk);
    auto pool = ZeroPool::create(0, credit).value();
    EXPECT_EQ(pool->slots(), slots) << chunks;
    while (pool->refill()) {
    }
    EXPECT_EQ(pool->ready(), slots) << chunks;
  }
}

TEST_F(ZeroPoolTest, NoCreditNoPage) {
  rig_->credit().charge(kBudget - 1);
  EXPECT_FALSE(pool().refill());
  EXPECT_EQ(pool().ready(), 0u);
  rig_->credit().release(kBudget - 1);
}

// Also when no page comes; and nobody is woken who does not wait.
TEST_F(ZeroPoolTest, WhoWaitsIsToldAndNobodyElse) {
  auto bell = os::Doorbell::create().value();
  auto poller = os::Poller::create().value();
  ASSERT_EQ(poller.add(bell.fd(), 1), 0);
  const auto rings = [&] {
    std::uint64_t tag = 0;
    const bool rung = poller.wait(&tag, 1, 0) == 1;
    bell.clear();
    return rung;
  };
  EXPECT_TRUE(pool().refill());
  pool().tell_waiting();
  EXPECT_FALSE(rings());
  EXPECT_FALSE(pool().announce_wait(bell)) << "one is ready";
  EXPECT_TRUE(pool().refill());
  EXPECT_FALSE(rings());
  EXPECT_EQ(pool().drain(), 2u);
  EXPECT_TRUE(pool().announce_wait(bell));
  EXPECT_TRUE(pool().refill());
  EXPECT_TRUE(rings());
  EXPECT_EQ(pool().drain(), 1u);
  EXPECT_TRUE(pool().announce_wait(bell));
  pool().tell_waiting();
  EXPECT_TRUE(rings());
  EXPECT_TRUE(pool().refill());
  EXPECT_FALSE(rings()) << "once for each wait";
}

TEST_F(ZeroPoolTest, TakeMovesZerosAndTheirChargeIntoTheGuest) {
  test::RigGuestOptions options;
  options.pages = 2 * kChunk;
  options.large_pages = true;
  auto& guest = rig_->add(options);
  ASSERT_TRUE(pool().refill());
  std::vector<region::PageWord> words;
  for (std::uint64_t page = 0; page < kChunk; ++page) words.push_back(guest->table.lock(page));
  ASSERT_EQ(pool().take(guest.memory(), 0), kChunk);
  for (std::uint64_t page = 0; page < kChunk; ++page)
    guest->table.unlock(page, words[page].with_state(region::PageState::resident));
  EXPECT_EQ(pool().ready(), 0u);
  EXPECT_EQ(rig_->credit().charged(), kChunk);
  EXPECT_EQ(guest->counters.resident.load(), kChunk);
  EXPECT_EQ(test::resident_pages(guest.at(0), 2 * kChunk), kChunk);
  for (std::uint64_t page = 0; page < kChunk; ++page) ASSERT_TRUE(test::is_zero(guest.at(page)));
  EXPECT_EQ(pool().take(guest.memory(), kChunk), 0u) << "none is ready";
}

// Hazard 6a: what did not move is dropped; a page is never given to a second guest.
TEST_F(ZeroPoolTest, WhatStopsHalfwayGoesBackToTheKernel) {
  test::RigGuestOptions options;
  options.pages = kChunk;
  auto& guest = rig_->add(options);
  guest.fill(100, 101, 1);
  ASSERT_TRUE(pool().refill());
  const auto before = rig_->credit().charged();
  const auto moved = pool().take(guest.memory(), 0);
  EXPECT_LE(moved, 100u);
  EXPECT_EQ(rig_->credit().charged(), before - kChunk + moved);
  EXPECT_EQ(pool().ready(), 0u);
  EXPECT_EQ(guest.wrong(100, 101, 1), "");
  // What did move is the guest's from now on.
  for (std::uint64_t page = 0; page < moved; ++page) {
    region::PageLock lock(guest->table, page);
    lock.set(lock.word().with_state(region::PageState::resident));
  }
}

}  // namespace
}  // namespace vmm
