// Frames of shared pages: mapped, written to, given back; what the kernel says of their memory.
#include "sharing/frame_store.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "support/call_hook.h"
#include "support/child.h"
#include "support/pattern.h"

namespace vmm::test {
namespace {

using sharing::FrameRun;
using sharing::FrameStore;

constexpr std::uint64_t kFrames = 1000;

class Frames : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = FrameStore::create(0, kFrames, credit_);
    ASSERT_TRUE(made) << made.error().message();
    store_ = std::move(*made);
  }
  void fill(FrameRun run, unsigned char value) {
    std::memset(store_->bytes(run.first), value, run.count * kPageSize);
  }
  std::uint64_t allocated() { return store_->allocated().value_or(~std::uint64_t{0}); }
  static os::Mapping place(std::uint64_t pages) { return std::move(*os::Mapping::anonymous(pages * kPageSize)); }
  static bool all(const std::byte* at, std::uint64_t pages, unsigned char value) {
    return std::all_of(at, at + pages * kPageSize, [&](std::byte b) { return b == std::byte{value}; });
  }

  region::Credit credit_{kFrames};
  std::unique_ptr<FrameStore> store_;
};

TEST_F(Frames, AWriteIsTheWritersOwn) {
  const auto run = store_->allocate(8);
  ASSERT_TRUE(run && run->count == 8);
  fill(*run, 7);
  const auto one = place(8), other = place(8);
  std::memset(one.data(), 1, one.size());
  ASSERT_EQ(store_->show(one.data(), *run, false), 0);
  ASSERT_EQ(store_->show(other.data(), *run, true), 0);
  store_->hold(*run);
  EXPECT_TRUE(all(one.data(), 8, 7)) << "what was there is gone";
  EXPECT_TRUE(all(other.data(), 8, 7));
  EXPECT_EQ(allocated(), 8 * kPageSize) << "one copy for both";
  one.data()[3 * kPageSize] = std::byte{9};
  EXPECT_TRUE(all(other.data(), 8, 7));
  EXPECT_EQ(*store_->bytes(run->first + 3), std::byte{7});
  EXPECT_EQ(one.data()[3 * kPageSize], std::byte{9});
  EXPECT_EQ(one.data()[3 * kPageSize + 1], std::byte{7}) << "the rest of the page is as it was";
}

TEST_F(Frames, AreGivenBackWhenNobodyHoldsThemAndNotBefore) {
  const auto run = store_->allocate(4);
  ASSERT_TRUE(run);
  fill(*run, 1);
  store_->hold({run->first + 1, 2});
  EXPECT_EQ(store_->references(run->first), 1u);
  EXPECT_EQ(store_->references(run->first + 1), 2u);
  EXPECT_EQ(store_->release(*run), 0);
  EXPECT_EQ(allocated(), 2 * kPageSize) << "the first and the last";
  EXPECT_EQ(store_->in_use(), 2u);
  EXPECT_TRUE(all(store_->bytes(run->first + 1), 2, 1));
  // None of the others' numbers, and no bytes that others had.
  std::vector<FrameRun> all_others;
  for (auto next = store_->allocate(kFrames); next; next = store_->allocate(kFrames)) {
    for (auto f = next->first; f < next->first + next->count; ++f) {
      EXPECT_NE(f, run->first + 1);
      EXPECT_NE(f, run->first + 2);
      EXPECT_TRUE(all(store_->bytes(f), 1, 0)) << f;
    }
    all_others.push_back(*next);
  }
  EXPECT_EQ(store_->in_use(), kFrames);
  EXPECT_EQ(store_->release({run->first + 1, 2}), 0);
  for (const auto& others : all_others) EXPECT_EQ(store_->release(others), 0);
  EXPECT_EQ(allocated(), 0u);
  EXPECT_EQ(store_->in_use(), 0u);
}

TEST_F(Frames, WhoComesTooLateHoldsNothing) {
  const auto run = store_->allocate(1);
  ASSERT_TRUE(run);
  EXPECT_TRUE(store_->try_hold(run->first));
  EXPECT_EQ(store_->references(run->first), 2u);
  EXPECT_EQ(store_->release(*run), 0);
  EXPECT_EQ(store_->release(*run), 0);
  EXPECT_FALSE(store_->try_hold(run->first));
  EXPECT_EQ(store_->references(run->first), 0u);
}

// The file is the parent's, too: nothing that a child does may take its bytes.
TEST_F(Frames, AChildOfForkGivesNothingBack) {
  const auto run = store_->allocate(2);
  ASSERT_TRUE(run);
  fill(*run, 5);
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    findings.check(store_->release(*run) == 0, "release failed");
    findings.check(store_->references(run->first) == 1, "the child has given it back");
  }));
  EXPECT_TRUE(all(store_->bytes(run->first), 2, 5));
  EXPECT_EQ(allocated(), 2 * kPageSize);
}

TEST_F(Frames, RunsAreConsecutiveAndCanGrow) {
  const auto first = store_->allocate(100);
  ASSERT_TRUE(first && first->count == 100);
  const auto more = store_->allocate(50, first->first + 100);
  ASSERT_TRUE(more && more->count == 50);
  EXPECT_EQ(more->first, first->first + 100);
  const auto taken = store_->allocate(10, first->first + 20);
  ASSERT_TRUE(taken);
  EXPECT_GE(taken->first, first->first + 150) << "where it was wanted somebody is";
  // What is left in pieces is given in pieces, the largest first.
  const auto rest = store_->allocate(kFrames);
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->count, kFrames - 160);
  ASSERT_EQ(store_->release({first->first + 10, 20}), 0);
  ASSERT_EQ(store_->release({first->first + 60, 30}), 0);
  const auto piece = store_->allocate(40), next = store_->allocate(40);
  ASSERT_TRUE(piece && next);
  EXPECT_EQ(piece->first, first->first + 60);
  EXPECT_EQ(piece->count, 30u);
  EXPECT_EQ(next->first, first->first + 10);
  EXPECT_EQ(next->count, 20u);
  EXPECT_FALSE(store_->allocate(1)) << "full";
}

// What the kernel does not take back would show the old bytes: such frames are never used again.
TEST_F(Frames, WhatTheKernelDoesNotTakeBackIsNotUsedAgain) {
  const auto run = store_->allocate(kFrames);
  ASSERT_TRUE(run && run->count == kFrames);
  fill({run->first, 1}, 1);
  {
    CallHook hook;
    hook.fail(os::Call::fallocate, ENOMEM);
    EXPECT_EQ(store_->release({run->first, 10}), ENOMEM);
  }
  EXPECT_EQ(store_->lost(), 10u);
  EXPECT_FALSE(store_->allocate(1));
  EXPECT_EQ(store_->release({run->first + 10, 1}), 0);
  const auto again = store_->allocate(1);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->first, run->first + 10);
}

TEST_F(Frames, ThreadsNeverGetTheFramesOfOthers) {
  constexpr int kThreads = 4;
  std::atomic<bool> wrong{false};
  std::vector<std::thread> threads;
  for (int n = 0; n < kThreads; ++n)
    threads.emplace_back([&, n] {
      base::Random random(static_cast<std::uint64_t>(n) + 1);
      const auto own = static_cast<unsigned char>(n + 1);
      for (int i = 0; i < 300; ++i) {
        const auto run = store_->allocate(1 + random.below(64));
        if (!run) continue;
        if (!all(store_->bytes(run->first), run->count, 0)) wrong = true;
        fill(*run, own);
        if (random.below(2) == 0) {
          store_->hold(*run);
          if (store_->release(*run) != 0) wrong = true;
        }
        std::this_thread::yield();
        if (!all(store_->bytes(run->first), run->count, own)) wrong = true;
        if (store_->release(*run) != 0) wrong = true;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(wrong);
  EXPECT_EQ(store_->in_use(), 0u);
  EXPECT_EQ(allocated(), 0u);
}

TEST_F(Frames, EachIsChargedWhileItIsInUse) {
  const auto run = store_->allocate(8);
  ASSERT_TRUE(run && run->count == 8);
  store_->hold(*run);
  EXPECT_EQ(credit_.charged(), 8u);
  EXPECT_EQ(store_->release({run->first, 4}), 0);
  EXPECT_EQ(credit_.charged(), 8u);
  EXPECT_EQ(store_->release(*run), 0);
  EXPECT_EQ(credit_.charged(), 4u);
  EXPECT_EQ(store_->release({run->first + 4, 4}), 0);
  EXPECT_EQ(credit_.charged(), 0u);
}

TEST_F(Frames, WhatCannotBeMadeIsToldByName) {
  CallHook hook;
  hook.fail(os::Call::memfd_create, EMFILE);
  const auto r = FrameStore::create(0, 1, credit_);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code.value(), EMFILE);
  EXPECT_NE(r.error().message().find("RLIMIT_NOFILE"), std::string::npos) << r.error().message();
}

}  // namespace
}  // namespace vmm::test
