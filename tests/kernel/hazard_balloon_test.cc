// Hazards 37, 38 and 39: balloon drivers that misbehave in a host that is short of memory. Nobody else is harmed, and
// memory is reclaimed all the same.
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernel/balloon_hazards.h"
#include "support/kernel_view.h"
#include "support/toucher.h"

namespace vmm {
namespace {

using test::BalloonHazards;
using test::Honest;
using test::kGuest;
using test::kPages;
using test::kUsed;
using test::Ranges;
using test::Scripted;
using test::Toucher;

VMM_EACH_WAY(BalloonHazards);

TEST_P(BalloonHazards, Hazard37_OneThatHangsIsNotWaitedFor) {
  const auto driver = set([this](std::uint64_t) {
    hold_.wait();
    return Ranges{test::range(kUsed, 100)};
  });
  press();
  expect_nobody_else_harmed();
  EXPECT_TRUE(told_of_distrust("did not answer within 50 ms"));
  auto s = *guest_.stats();
  EXPECT_TRUE(s.balloon_distrusted);
  EXPECT_EQ(s.balloon_late, 0u) << "it has not answered yet";
  EXPECT_GT(guest_.stats()->swapped_out + presser_.stats()->swapped_out, 0u);
  hold_.release();
  EXPECT_TRUE(test::eventually([&] { return driver->told().size() == 1; }));
  EXPECT_EQ(driver->told()[0], Ranges{test::range(kUsed, 100)}) << "what came late is its own still";
  s = *guest_.stats();
  EXPECT_EQ(s.balloon_late, 1u);
  EXPECT_EQ(s.balloon_refused, 100 * kPageSize);
  EXPECT_EQ(s.ballooned, 0u);
  EXPECT_EQ(driver->asked, 1) << "it is not asked for a while";
  EXPECT_EQ(test::wrong_in(guest_, 1), "");
}

TEST_P(BalloonHazards, Hazard37_ItsGuestEndsWhileItHangs) {
  hang();
  guest_ = Guest();
  EXPECT_EQ(host_.stats()->guests.size(), 2u);
  expect_nobody_else_harmed();
  EXPECT_FALSE(gone_) << "it lives as long as a call of it";
  hold_.release();
  EXPECT_TRUE(test::eventually([&] { return gone_.load(); }));
}

TEST_P(BalloonHazards, Hazard37_TheHostEndsWhileItHangs) {
  hang();
  host_ = Host();
  EXPECT_FALSE(guest_.stats());
  EXPECT_FALSE(gone_);
  hold_.release();
  EXPECT_TRUE(test::eventually([&] { return gone_.load(); }));
}

TEST_P(BalloonHazards, Hazard37_WhatItThrowsIsCaught) {
  const std::pair<void (*)(), std::string> cases[] = {
      {[] { throw std::runtime_error("out of luck"); }, "threw: out of luck"},
      {[] { throw 4711; }, "threw: no std::exception"},
  };
  for (const auto& [what, reason] : cases) {
    SCOPED_TRACE(reason);
    const auto driver = set([what = what](std::uint64_t) -> Ranges {
      what();
      return {};
    });
    press();
    EXPECT_TRUE(told_of_distrust(reason));
    expect_nobody_else_harmed();
    EXPECT_TRUE(guest_.stats()->balloon_distrusted);
    EXPECT_EQ(driver->asked, 1);
    EXPECT_EQ(test::wrong_in(guest_, 1), "");
  }
}

// All kinds of nonsense in one answer, with some pages that are right in it.
TEST_P(BalloonHazards, Hazard37_WhatItMayNotGiveIsRefusedAndCounted) {
  auto pin = guest_.pin(0, 16 * kPageSize);
  ASSERT_TRUE(pin) << pin.error().message();
  const Ranges answer = {
      {kGuest, kPageSize},                             // another's, or nobody's
      {kGuest - kPageSize, 2 * kPageSize},             // ends beyond
      {~std::uint64_t{kPageSize - 1}, 2 * kPageSize},  // wraps
      {0, ~std::uint64_t{kPageSize - 1}},              // everything there is
      {kUsed * kPageSize + 1, kPageSize},              // no page
      {kUsed * kPageSize, 100},                        // no whole page
      {kUsed * kPageSize, 0},                          // nothing
      test::range(0, 16),                              // pinned
      test::range(kUsed, 8), test::range(kUsed, 8),    // twice
  };
  const auto driver = set([answer](std::uint64_t) { return answer; });
  Toucher busy(presser_, 3, 0, 40 * MiB / kPageSize);
  EXPECT_TRUE(test::eventually([&] { return !driver->told().empty(); }));
  const auto refused = driver->told()[0];
  for (const auto i : {0, 1, 2, 3, 4, 5, 7})
    EXPECT_NE(std::find(refused.begin(), refused.end(), answer[static_cast<std::size_t>(i)]), refused.end()) << i;
  EXPECT_EQ(refused.size(), 7u) << "what it has given is given";
  EXPECT_GE(guest_.stats()->balloon_refused, (1 + 2 + 2 + kPages + 1 + 1 + 16 + 8) * kPageSize);
  EXPECT_EQ(guest_.stats()->ballooned, 8 * kPageSize);
  EXPECT_EQ(test::resident_pages(test::page_at(guest_, kUsed), 8), 0u);
  EXPECT_TRUE(told_of_distrust("freed ")) << "nothing comes of it";
  busy.stop();
  EXPECT_EQ(test::resident_pages(test::page_at(guest_, 0), 16), 16u);
  expect_nobody_else_harmed();
  EXPECT_EQ(wrong_in_use(), "");
  EXPECT_EQ(wrong_in_use(kUsed + 8, kPages), "");
  EXPECT_TRUE(test::is_zero(test::page_at(guest_, kUsed)));
}

TEST_P(BalloonHazards, Hazard37_PagesThatItGoesOnUsingFreeNothing) {
  const auto driver = set([](std::uint64_t bytes) {
    return Ranges{test::range(kUsed, std::min(bytes / kPageSize, std::uint64_t{256}))};
  });
  Toucher user(guest_, 1, 0, kPages);
  Toucher busy(presser_, 3, 0, 40 * MiB / kPageSize);
  EXPECT_TRUE(told_of_distrust("freed "));
  EXPECT_TRUE(test::eventually([&] { return guest_.stats()->balloon_popped > 0; }));
  busy.stop();
  user.stop();
  EXPECT_GE(driver->asked, 3);
  expect_nobody_else_harmed();
  EXPECT_EQ(wrong_in_use(), "");
  test::fill_guest(guest_, 1);
  EXPECT_EQ(test::wrong_in(guest_, 1), "") << "what is written later stays";
}

TEST_P(BalloonHazards, Hazard37_PagesThatWereNeverTouchedFreeNothing) {
  ASSERT_TRUE(guest_.discard(kUsed * kPageSize, kUsed * kPageSize));
  const auto driver = set([honest = Honest()](std::uint64_t b) mutable { return honest(std::min(b, 64 * kPageSize)); });
  auto fourth = add("fourth", 24 * MiB, 0);
  test::fill_guest(presser_, 3);
  Toucher busy(fourth, 4, 0, 24 * MiB / kPageSize);
  EXPECT_TRUE(told_of_distrust("freed 0"));
  busy.stop();
  EXPECT_EQ(driver->asked, 3);
  EXPECT_EQ(guest_.stats()->ballooned_out, 0u);
  expect_nobody_else_harmed();
  EXPECT_EQ(wrong_in_use(), "");
  EXPECT_EQ(test::wrong_in(fourth, 4), "");
}

TEST_P(BalloonHazards, Hazard37_ItMayUseEverything) {
  const auto note = [this](const char* what, const auto& r) {
    if (!r) errors_.push_back(std::string(what) + ": " + r.error().message());
  };
  const auto driver = set([this, note, honest = Honest()](std::uint64_t bytes) mutable {
    if (calls_++ == 0) {
      note("stats", guest_.stats());
      note("host stats", host_.stats());
      note("reclaim", guest_.reclaim(1 * MiB));
      note("discard", guest_.discard((kPages - 16) * kPageSize, 16 * kPageSize));
      note("pin", guest_.pin(0, kPageSize));
      note("prefetch", guest_.prefetch(0, kGuest));
      note("configure", guest_.configure({.shares = Shares::high()}));
      note("host configure", host_.configure({.idle_tax = 0.5}));
      note("pool", host_.create_pool("/made-inside", {}));
      auto o = guest_options("made-inside", 1 * MiB);
      o.pool = "/made-inside";
      auto made = host_.create_guest(o);
      note("create_guest", made);
      if (made) test::fill_guest(*made, 5);
      note("on_event", host_.on_event({}));
      told_.clear();
    }
    return honest(bytes);
  });
  // The calls may take longer than one is patient.
  ASSERT_TRUE(host_.configure({.balloon_timeout = std::chrono::seconds(60)}));
  press();
  EXPECT_TRUE(test::eventually([&] { return !driver->told().empty(); }));
  expect_nobody_else_harmed();
  EXPECT_EQ(errors_, std::vector<std::string>());
  EXPECT_GT(guest_.stats()->ballooned_out, 0u);
  EXPECT_EQ(guest_.stats()->balloon_late, 0u);
  EXPECT_EQ(wrong_in_use(), "");
}

TEST_P(BalloonHazards, Hazard37_ItMayEndItsOwnGuest) {
  set([this](std::uint64_t) {
    guest_ = Guest();
    ended_ = true;
    return Ranges{test::range(0, kPages)};
  }, &gone_);
  press();
  EXPECT_TRUE(test::eventually([&] { return ended_ && gone_; }));
  expect_nobody_else_harmed();
  EXPECT_EQ(host_.stats()->guests.size(), 2u);
}

TEST_P(BalloonHazards, Hazard37_ItMayEndAnotherGuest) {
  victim_ = add("victim", 4 * MiB, 0);
  test::fill_guest(victim_, 6);
  const auto driver = set([this, honest = Honest()](std::uint64_t bytes) mutable {
    victim_ = Guest();
    return honest(bytes);
  });
  press();
  EXPECT_TRUE(test::eventually([&] { return !driver->told().empty(); }));
  expect_nobody_else_harmed();
  EXPECT_EQ(host_.stats()->guests.size(), 3u);
  EXPECT_EQ(wrong_in_use(), "");
}

TEST_P(BalloonHazards, Hazard37_ItMayReplaceItself) {
  const auto second = std::make_shared<Scripted>(Honest());
  set([this, second](std::uint64_t) {
    replaced_ = guest_.set_balloon(second);
    return Ranges{test::range(0, kUsed)};  // which it has no say in any more
  }, &gone_);
  press();
  EXPECT_TRUE(test::eventually([&] { return gone_ && !second->told().empty(); }));
  EXPECT_TRUE(replaced_);
  expect_nobody_else_harmed();
  EXPECT_GT(guest_.stats()->ballooned_out, 0u);
  EXPECT_EQ(wrong_in_use(), "");
}

// Whatever it names, no more leaves than may; and what comes back is zero.
TEST_P(BalloonHazards, Hazard38_NoMoreThanTheFloorAndZerosAfterwards) {
  struct Case {
    std::uint32_t percent;
    std::uint64_t own, reservation, most;
  };
  for (const auto& c : {Case{65, kGuest, 0, kPages * 65 / 100 * kPageSize}, Case{65, 6 * MiB, 0, 6 * MiB},
                        Case{95, kGuest, 28 * MiB, 4 * MiB}}) {
    SCOPED_TRACE(c.most);
    ASSERT_TRUE(host_.configure({.balloon_max_percent = c.percent}));
    ASSERT_TRUE(guest_.configure({.reservation = c.reservation, .balloon_max = c.own}));
    const auto driver = set([](std::uint64_t) { return Ranges{test::range(0, kPages)}; });
    press();
    EXPECT_TRUE(test::eventually([&] { return !driver->told().empty(); }));
    expect_nobody_else_harmed();
    auto s = *guest_.stats();
    EXPECT_EQ(s.balloon_max, c.most);
    EXPECT_EQ(s.ballooned, c.most) << "it has named all";
    EXPECT_EQ(s.balloon_refused % kGuest, kGuest - c.most);
    EXPECT_EQ(driver->told()[0], (Ranges{{c.most, kGuest - c.most}}));
    EXPECT_EQ(test::resident_pages(guest_.memory().data(), c.most / kPageSize), 0u);
    EXPECT_EQ(wrong_in_use(c.most / kPageSize, kPages), "") << "the others hold what they held";
    for (std::uint64_t page = 0; page < c.most / kPageSize; ++page)
      ASSERT_TRUE(test::is_zero(test::page_at(guest_, page))) << page;
    ASSERT_TRUE(guest_.set_balloon(nullptr));
    EXPECT_EQ(guest_.stats()->ballooned, 0u);
    ASSERT_TRUE(presser_.discard(0, 40 * MiB));
    guest_ = Guest();
    guest_ = add("ballooned", kGuest, 0);
    told_ = {&neighbour_, &presser_};  // the first of that name has gone
    test::fill_guest(guest_, 1);
  }
}

// A guest that allocates and touches without end does not keep others from theirs.
TEST_P(BalloonHazards, Hazard39_OneInATightLoopDoesNotStarveOthers) {
  hang();
  auto small = add("small", 2 * MiB, 2 * MiB);
  {
    Toucher one(presser_, 3, 0, 20 * MiB / kPageSize), two(presser_, 3, 20 * MiB / kPageSize, 20 * MiB / kPageSize);
    const auto passes = one.passes() + two.passes();
    for (std::uint64_t version = 1; version < 12 || one.passes() + two.passes() < passes + 4; ++version) {
      test::fill_guest(small, 7, version);
      ASSERT_EQ(test::wrong_in(small, 7, version), "");
      ASSERT_EQ(test::wrong_in(neighbour_, 2), "");
      ASSERT_EQ(wrong_in_use(version % 60 * 64, version % 60 * 64 + 64), "") << "swapped in beside the loop";
    }
  }
  EXPECT_EQ(small.stats()->swapped_out, 0u);
  EXPECT_EQ(small.stats()->stops, 0u);
  expect_nobody_else_harmed();
}

}  // namespace
}  // namespace vmm
