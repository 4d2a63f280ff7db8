#include "reclaim/placer.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "os/poller.h"

namespace vmm::reclaim {
namespace {

class PlacerTest : public testing::Test {
 protected:
  void SetUp() override {
    bell = os::Doorbell::create().value();
    poller = os::Poller::create().value();
    ASSERT_EQ(poller.add(bell.fd(), 1), 0);
    placer.set_bell(bell);
  }
  void start() {
    ASSERT_TRUE(placer.start("test-place", [this](std::size_t index) { placed[index].fetch_add(1); }));
  }
  // Waits for the bell, and takes its rings.
  void wait_for_bell() {
    std::uint64_t tag = 0;
    ASSERT_EQ(poller.wait(&tag, 1, 60'000), 1);
    bell.clear();
  }
  bool rings() {
    std::uint64_t tag = 0;
    return poller.wait(&tag, 1, 0) == 1;
  }
  std::size_t collect() {
    std::size_t count = 0;
    placer.collect([&](std::size_t) { ++count; });
    return count;
  }

  os::Doorbell bell;
  os::Poller poller;
  std::array<std::atomic<int>, Placer::kReads> placed{};
  Placer placer;
};

TEST_F(PlacerTest, TheOldestIsTakenFirst) {
  for (const std::size_t index : {5u, 0u, 15u}) placer.arrived(index);
  std::vector<std::size_t> taken;
  for (auto index = placer.take(); index != Placer::kNone; index = placer.take()) taken.push_back(index);
  EXPECT_EQ(taken, (std::vector<std::size_t>{5, 0, 15}));
  EXPECT_FALSE(placer.waiting());
}

TEST_F(PlacerTest, TakenIsNotCollected) {
  placer.arrived(3);
  ASSERT_EQ(placer.take(), 3u);
  EXPECT_EQ(collect(), 0u);
  placer.finished(3);
  EXPECT_EQ(collect(), 0u);
  placer.arrived(3);
  EXPECT_EQ(placer.take(), 3u);
}

TEST_F(PlacerTest, TheHelperPutsInPlaceWhatIsLeftAndRingsForWhoWaits) {
  start();
  placer.arrived(7);
  placer.arrived(2);
  ASSERT_EQ(placer.take(), 7u);
  placer.want();
  placer.call_helper();
  wait_for_bell();
  EXPECT_EQ(collect(), 1u);
  EXPECT_EQ(placed[2].load(), 1);
  EXPECT_EQ(placed[7].load(), 0);
}

TEST_F(PlacerTest, NothingRingsThatNobodyWaitsFor) {
  start();
  placer.arrived(1);
  placer.call_helper();
  while (collect() == 0) {
  }
  EXPECT_FALSE(rings());
}

// The fault thread and the helper take from the same reads: none is put in place twice or forgotten.
TEST_F(PlacerTest, EachIsPutInPlaceOnce) {
  start();
  constexpr int kRounds = 20'000;
  std::array<int, Placer::kReads> begun{};
  for (int round = 0; round < kRounds; ++round) {
    const auto last = static_cast<std::size_t>(1 + round % 15);
    for (const auto index : {std::size_t{0}, last}) {
      placer.arrived(index);
      ++begun[index];
    }
    placer.call_helper();
    if (const auto mine = placer.take(); mine != Placer::kNone) {
      placed[mine].fetch_add(1);
      placer.finished(mine);
    }
    // All is in place, and each that the helper took was collected, before an index is used again.
    const auto all = [&] {
      for (std::size_t i = 0; i < begun.size(); ++i)
        if (placed[i].load() != begun[i]) return false;
      return true;
    };
    for (;;) {
      placer.want();
      collect();
      if (all()) break;
      wait_for_bell();
    }
    // The helper counts before it says that it is done: that too is waited for.
    while (placer.has(0) || placer.has(last)) collect();
  }
}

// The helper may have just begun, be asleep, or about to be.
TEST_F(PlacerTest, EndsWhateverTheHelperDoes) {
  for (int i = 0; i < 1000; ++i) {
    Placer one;
    one.set_bell(bell);
    ASSERT_TRUE(one.start("test-place", [](std::size_t) {}));
    if (i % 2 == 0) one.call_helper();
    one.end();
    one.end();
  }
}

}  // namespace
}  // namespace vmm::reclaim
