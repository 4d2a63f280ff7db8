// Hazards 37 and 39 by figures, not by the clock: when memory is reclaimed although a balloon driver hangs, and what
// the neighbours of a guest that waits for memory notice of it: nothing.
#include <atomic>
#include <chrono>
#include <cerrno>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "support/balloon_fakes.h"
#include "support/call_hook.h"
#include "support/host_rig.h"
#include "support/toucher.h"

namespace vmm {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using test::Hold;
using test::HostRig;
using test::Ranges;
using test::Scripted;
using test::Toucher;

class HungBalloon : public test::EachWay {
 protected:
  // 128 MiB. A driver may take an hour of the host's time, which the test tells.
  static void adjust(HostOptions& o) {
    o.idle_tax = 0;
    o.sample_pages = 0;
    o.balloon_timeout = hours(1);
  }
  ~HungBalloon() override {
    // Its driver is called until the call has returned.
    hold_.release();
    rig_.end();
    EXPECT_TRUE(test::eventually([&] { return driver_.expired(); }));
  }
  Guest add(const std::string& name, std::uint64_t memory, std::uint64_t reservation = 0, std::uint64_t limit = 0) {
    auto o = guest_options(name, memory);
    o.large_pages = false;
    o.reservation = reservation;
    o.limit = limit;
    auto guest = rig_.host().create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    return guest ? std::move(*guest) : Guest();
  }
  void hang(Guest& guest) {
    const auto driver = std::make_shared<Scripted>([this](std::uint64_t) {
      hold_.wait();
      return Ranges();
    });
    driver_ = driver;
    const auto r = guest.set_balloon(driver);
    EXPECT_TRUE(r) << r.error().message();
  }
  MemoryState state() { return rig_.host().stats()->state; }

  Hold hold_;
  std::weak_ptr<Scripted> driver_;
  HostRig rig_{GetParam(), adjust};
};
VMM_EACH_WAY(HungBalloon);

// Until then the balloon is counted on; afterwards swap takes what it has not given.
TEST_P(HungBalloon, Hazard37_SwapBeginsWhenTheDriversTimeIsOver) {
  auto guest = add("ballooned", 80 * MiB), neighbour = add("neighbour", 48 * MiB, 48 * MiB);
  test::fill_guest(guest, 1);
  hang(guest);
  std::uint64_t filled = 0;
  for (; rig_.host().stats()->free >= rig_.host().stats()->min_free; ++filled)
    test::fill_page(test::page_at(neighbour, filled), 2, filled, 1);
  EXPECT_TRUE(test::eventually([&] { return hold_.inside && state() == MemoryState::soft; }));
  rig_.tick(minutes(58));
  EXPECT_EQ(state(), MemoryState::soft);
  EXPECT_FALSE(guest.stats()->balloon_distrusted);
  EXPECT_EQ(guest.stats()->swapped_out, 0u) << "it has its time";
  rig_.tick(minutes(3));
  rig_.tick();  // what the look before has found is told
  EXPECT_TRUE(guest.stats()->balloon_distrusted);
  EXPECT_TRUE(test::eventually([&] { return state() == MemoryState::high; })) << "without another tick";
  EXPECT_GT(guest.stats()->swapped_out, 0u);
  EXPECT_EQ(guest.stats()->ballooned_out, 0u);
  rig_.tick();
  EXPECT_EQ(rig_.events(EventKind::balloon_distrusted).size(), 1u);
  EXPECT_EQ(test::told_of(rig_.events(), "ballooned"), test::counted_of(guest));
  for (std::uint64_t page = 0; page < filled; ++page)
    ASSERT_EQ(test::wrong_page(test::page_at(neighbour, page), 2, page, 1), "");
  const auto s = *neighbour.stats();
  EXPECT_EQ(s.swapped_out, 0u);
  EXPECT_EQ(s.stalls, 0u);
  EXPECT_EQ(s.stops, 0u);
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

// It touches without end more than it may hold, its driver hangs, and nothing of it can be written: its faults wait.
// All kinds of a neighbour's faults are answered meanwhile, none of them after waiting for memory.
TEST_P(HungBalloon, Hazard39_WhoWaitsAtItsLimitKeepsNobodyElseWaiting) {
  constexpr auto kHalf = 8 * MiB / kPageSize;
  auto looping = add("looping", 12 * MiB, 0, 8 * MiB), neighbour = add("neighbour", 2 * kHalf * kPageSize);
  hang(looping);
  for (std::uint64_t page = 0; page < kHalf; ++page) test::fill_page(test::page_at(neighbour, page), 2, page, 1);
  ASSERT_TRUE(HostRig::reclaim_down_to(neighbour, 0));
  const auto before = *neighbour.stats();
  test::CallHook hook;
  hook.fail(os::Call::pwrite, EIO);
  hook.fail(os::Call::uring_write, EIO);
  {
    Toucher loop(looping, 1, 0, 12 * MiB / kPageSize);
    std::uint64_t touches = 0;
    int unchanged = 0;
    EXPECT_TRUE(test::eventually([&] {
      const auto now = loop.touches();
      unchanged = now == touches && looping.stats()->stalls > 0 ? unchanged + 1 : 0;
      touches = now;
      return unchanged == 1000;
    }));
    for (std::uint64_t page = 0; page < kHalf; ++page)
      ASSERT_EQ(test::wrong_page(test::page_at(neighbour, page), 2, page, 1), "") << "read back";
    for (std::uint64_t version = 1; version <= 3; ++version) {
      for (auto page = kHalf; page < 2 * kHalf; ++page)
        test::fill_page(test::page_at(neighbour, page), 2, page, version);
      ASSERT_TRUE(neighbour.discard(kHalf * kPageSize, kHalf * kPageSize));
    }
    EXPECT_EQ(loop.touches(), touches) << "the other one did not wait: the test shows nothing";
    const auto s = *neighbour.stats();
    EXPECT_GT(s.swap_ins, before.swap_ins);
    EXPECT_GT(s.fills, before.fills);
    EXPECT_EQ(s.stalls, 0u);
    EXPECT_EQ(s.stops, 0u);
    // It goes on when its pages can leave, and its driver is counted on no longer.
    hook.fail(os::Call::pwrite, 0, 0);
    hook.fail(os::Call::uring_write, 0, 0);
    rig_.tick(minutes(61));
    // A write that failed is tried again at the scheduler's next look.
    EXPECT_TRUE(test::eventually([&] {
      rig_.tick();
      return loop.passes() > 0;
    }));
  }
  EXPECT_EQ(test::wrong_in(looping, 1), "");
}

}  // namespace
}  // namespace vmm
