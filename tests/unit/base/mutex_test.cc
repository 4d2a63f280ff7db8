#include "base/mutex.h"

#include <gtest/gtest.h>

#include <string>

#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace vmm::base {
namespace {

// Locks by hand, in any order, where the analysis would forbid it.
void lock_both(Mutex& first, Mutex& second) VMM_NO_THREAD_SAFETY_ANALYSIS {
  first.lock();
  second.lock();
  second.unlock();
  first.unlock();
}

class RankedMutex : public testing::Test {
 protected:
  void SetUp() override {
#if !defined(VMM_RANK_CHECKS)
    GTEST_SKIP() << "built without VMM_RANK_CHECKS: ranks are not checked";
#endif
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
};
using RankedMutexDeathTest = RankedMutex;

TEST_F(RankedMutexDeathTest, AnInversionAborts) {
  Mutex outer(LockRank::host_control);
  Mutex inner(LockRank::slots);
  lock_both(outer, inner);
  EXPECT_DEATH(lock_both(inner, outer), "broken invariant: lock rank.*left " + std::to_string(static_cast<int>(LockRank::host_control)) +
                                               ", right " + std::to_string(static_cast<int>(LockRank::slots)));
}

TEST_F(RankedMutexDeathTest, TwoOfOneRankAbort) {
  Mutex one(LockRank::leaf);
  Mutex other(LockRank::leaf);
  EXPECT_DEATH(lock_both(one, other), "lock rank");
}

TEST_F(RankedMutexDeathTest, TakingOneTwiceAborts) {
  Mutex mutex(LockRank::worker);
  EXPECT_DEATH(lock_both(mutex, mutex), "lock rank");
}

TEST_F(RankedMutexDeathTest, ReleasingWhatIsNotHeldAborts) {
  const auto release = [](Mutex& mutex) VMM_NO_THREAD_SAFETY_ANALYSIS { mutex.unlock(); };
  Mutex mutex(LockRank::worker);
  // Held by another thread, so that only the rank's book-keeping is wrong.
  EXPECT_DEATH(
      {
        std::thread([&]() VMM_NO_THREAD_SAFETY_ANALYSIS { mutex.lock(); }).join();
        release(mutex);
      },
      "does not hold");
}

TEST_F(RankedMutex, AscendingOrderAndReleaseInAnyOrderAreFine) {
  Mutex a(LockRank::host_control);
  Mutex b(LockRank::guest_control);
  Mutex c(LockRank::leaf);
  const auto crosswise = [&]() VMM_NO_THREAD_SAFETY_ANALYSIS {
    a.lock();
    b.lock();
    a.unlock();  // not the last one taken
    c.lock();
    b.unlock();
    c.unlock();
    a.lock();  // nothing greater is held any more
    a.unlock();
  };
  crosswise();
}

TEST_F(RankedMutex, RanksAreCountedPerThread) {
  Mutex low(LockRank::host_control);
  Mutex high(LockRank::leaf);
  const MutexLock holding(high);
  std::thread([&] { const MutexLock lock(low); }).join();
}

TEST(Mutex, Excludes) {
  Mutex mutex(LockRank::leaf);
  std::uint64_t sum = 0;
  constexpr std::uint64_t kEach = 20000;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (std::uint64_t n = 0; n < kEach; ++n) {
        const MutexLock lock(mutex);
        ++sum;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(sum, 4 * kEach);
}

TEST(CondVar, HandsTheMutexOverAndBack) {
  Mutex mutex(LockRank::leaf);
  CondVar changed;
  int turn = 0;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) {
      const MutexLock lock(mutex);
      while (turn != 1) changed.wait(mutex);
      turn = 0;
      changed.notify_one();
    }
  });
  for (int i = 0; i < 1000; ++i) {
    const MutexLock lock(mutex);
    while (turn != 0) changed.wait(mutex);
    turn = 1;
    changed.notify_all();
  }
  other.join();
  EXPECT_EQ(turn, 0);
}

TEST(CondVar, AWaitThatNobodySignalsEnds) {
  Mutex mutex(LockRank::leaf);
  CondVar never;
  const MutexLock lock(mutex);
  // Spurious wake-ups are allowed; each wait ends all the same.
  for (int i = 0; i < 3; ++i) never.wait_for(mutex, std::chrono::nanoseconds(1));
}

}  // namespace
}  // namespace vmm::base
