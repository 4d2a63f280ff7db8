// Hazard 37: drivers that hang, answer late, name what is not theirs, throw, replace themselves, or end their guest.
#include "host/balloon.h"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/balloon_fakes.h"

namespace vmm::host {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::eventually;
using test::Hold;
using test::kTimeout;
using test::range;
using test::Ranges;
using test::Scripted;

class BalloonDrivers : public test::BalloonFixture {};

TEST_F(BalloonDrivers, Hazard37_RefusesWhatIsNoPageOfTheGuest) {
  constexpr auto kHuge = ~std::uint64_t{0} / kPageSize * kPageSize;
  const Ranges wrong = {
      {100, kPageSize}, {0, 100},      range(1024, 1), range(1020, 5),      {kHuge, kPageSize},
      {0, kHuge},       {kPageSize, kHuge}, {8192, 0},      {kHuge, ~std::uint64_t{0}},
  };
  const auto driver = set([&](std::uint64_t) {
    auto all = wrong;
    all.push_back(range(1, 8));
    return all;
  });
  inflate(8);
  EXPECT_EQ(guest_.ballooned(), 8u);
  // At most as many as the guest has for each.
  EXPECT_EQ(guest_.refused(), 1 + 1 + 1 + 5 + 1 + 3 * 1024u);
  ASSERT_EQ(driver->told().size(), 1u);
  auto expected = wrong;
  std::erase_if(expected, [](const auto& r) { return r.bytes == 0; });
  EXPECT_EQ(driver->told()[0], expected);
}

TEST_F(BalloonDrivers, Hazard37_PagesNamedTwiceAreGivenOnce) {
  Ranges answer = {range(0, 10), range(5, 10), range(0, 3)};
  guest_.pinned = 12;
  const auto driver = set([&](std::uint64_t) { return answer; });
  inflate(20);
  EXPECT_EQ(guest_.ballooned(), 14u);
  EXPECT_EQ(guest_.refused(), 5 + 1 + 3u);
  EXPECT_EQ(driver->told(), std::vector<Ranges>{{range(12, 1)}}) << "what is given is not told back";
  now_ += seconds(2);
  inflate(20);
  EXPECT_EQ(guest_.ballooned(), 14u);
  EXPECT_EQ(driver->told().size(), 2u);
}

TEST_F(BalloonDrivers, Hazard37_ALateAnswerIsRefusedAndTheDriverDistrusted) {
  Hold hold;
  const auto driver = set([&](std::uint64_t) {
    hold.wait();
    return Ranges{range(0, 10), {3, 5}};
  });
  ASSERT_EQ(balloon_->inflate(10, now_), 10u);
  ASSERT_TRUE(eventually([&] { return hold.inside.load(); }));
  now_ += kTimeout;
  balloon_->poll(now_, kTimeout);
  EXPECT_EQ(news(), "") << "just in time";
  now_ += milliseconds(1);
  balloon_->poll(now_, kTimeout);
  EXPECT_EQ(news(), "did not answer within 1000 ms");
  EXPECT_TRUE(balloon_->distrusted(now_));
  EXPECT_EQ(guest_.late(), 0u) << "there is no answer yet";
  balloon_->poll(now_ + seconds(5), kTimeout);
  EXPECT_EQ(news(), "") << "it is said once";
  hold.release();
  settle();
  EXPECT_EQ(guest_.ballooned(), 0u);
  EXPECT_EQ(guest_.late(), 1u);
  EXPECT_EQ(guest_.refused(), 11u);
  EXPECT_EQ(driver->told(), (std::vector<Ranges>{{range(0, 10), {3, 5}}}));
  EXPECT_EQ(balloon_->inflate(10, now_), 0u);
  now_ += Balloon::kDistrusted;
  EXPECT_FALSE(balloon_->distrusted(now_));
  EXPECT_EQ(inflate(10), 10u) << "it gets another chance";
  EXPECT_EQ(guest_.ballooned(), 10u);
}

// The minute of distrust is for drivers that have answered since: one that hangs still would only be waited for again.
TEST_F(BalloonDrivers, Hazard37_ADriverThatHangsOnIsNeverAskedAgain) {
  Hold hold;
  const auto driver = set([&](std::uint64_t) {
    hold.wait();
    return Ranges{range(0, 10)};
  });
  ASSERT_EQ(balloon_->inflate(10, now_), 10u);
  ASSERT_TRUE(eventually([&] { return hold.inside.load(); }));
  now_ += 2 * kTimeout;
  balloon_->poll(now_, kTimeout);
  EXPECT_EQ(news(), "did not answer within 1000 ms");
  for (int i = 0; i < 10; ++i) {
    now_ += Balloon::kDistrusted;
    balloon_->poll(now_, kTimeout);
    EXPECT_TRUE(balloon_->distrusted(now_)) << i;
    EXPECT_EQ(balloon_->inflate(10, now_), 0u) << i;
    EXPECT_EQ(news(), "") << i;
  }
  EXPECT_EQ(driver->asked, 1);
  hold.release();
  settle();
  EXPECT_EQ(guest_.ballooned(), 0u);
  now_ += Balloon::kDistrusted;
  EXPECT_FALSE(balloon_->distrusted(now_));
  EXPECT_EQ(inflate(10), 10u) << "it has answered in the end";
}

TEST_F(BalloonDrivers, Hazard37_ADriverThatHangsInDeflateIsDistrusted) {
  class Hangs final : public BalloonDriver {
   public:
    explicit Hangs(Hold& hold) : hold_(hold) {}
    Ranges inflate(std::uint64_t) override { return {range(0, 10)}; }
    void deflate(const Ranges&) override { hold_.wait(); }

   private:
    Hold& hold_;
  };
  Hold hold;
  ASSERT_TRUE(balloon_->set_driver(std::make_shared<Hangs>(hold)));
  balloon_->inflate(10, now_);
  ASSERT_TRUE(eventually([&] { return hold.inside.load(); }));
  now_ += seconds(10);  // of which nobody knows how much was the driver's
  balloon_->poll(now_, kTimeout);
  EXPECT_EQ(news(), "");
  now_ += seconds(2);
  balloon_->poll(now_, kTimeout);
  EXPECT_EQ(news(), "did not answer within 1000 ms");
  EXPECT_EQ(guest_.ballooned(), 10u);
  hold.release();
  settle();
}

TEST_F(BalloonDrivers, Hazard37_ADriverThatThrowsIsDistrusted) {
  int what = 0;
  set([&](std::uint64_t) -> Ranges {
    if (what == 0) throw std::runtime_error("out of luck");
    if (what == 1) throw 42;
    throw std::runtime_error(std::string(1000, 'x'));
  });
  inflate(10);
  EXPECT_EQ(news(), "threw: out of luck");
  EXPECT_TRUE(balloon_->distrusted(now_));
  what = 1;
  now_ += Balloon::kDistrusted;
  inflate(10);
  EXPECT_EQ(news(), "threw: no std::exception");
  what = 2;
  now_ += Balloon::kDistrusted;
  inflate(10);
  EXPECT_EQ(news().substr(0, 20), "threw: xxxxxxxxxxxxx");
  EXPECT_EQ(guest_.ballooned(), 0u);
}

// It throws when it is told what was refused, or what it gets back. What it has given is given.
TEST_F(BalloonDrivers, Hazard37_ADriverThatThrowsInDeflateIsDistrusted) {
  class Throws final : public BalloonDriver {
   public:
    Ranges inflate(std::uint64_t) override {
      ++asked;
      return {range(0, 10), range(1024, 1)};
    }
    void deflate(const Ranges&) override {
      ++told;
      if (told == 2) throw 42;
      throw std::runtime_error("out of luck");
    }
    std::atomic<int> asked{0}, told{0};
  };
  const auto driver = std::make_shared<Throws>();
  ASSERT_TRUE(balloon_->set_driver(driver));
  EXPECT_EQ(inflate(10), 10u);
  EXPECT_EQ(driver->told, 1);
  EXPECT_EQ(guest_.ballooned(), 10u);
  EXPECT_EQ(guest_.refused(), 1u);
  EXPECT_EQ(news(), "threw: out of luck");
  EXPECT_TRUE(balloon_->distrusted(now_));
  EXPECT_EQ(inflate(10), 0u);
  EXPECT_EQ(driver->asked, 1) << "not while it is distrusted";
  // Memory is plentiful again: it may have its pages back, whatever it makes of that.
  now_ += Balloon::kDistrusted;
  EXPECT_FALSE(balloon_->distrusted(now_));
  ASSERT_TRUE(balloon_->deflate(4, now_));
  settle();
  EXPECT_EQ(driver->told, 2);
  EXPECT_EQ(guest_.ballooned(), 6u);
  EXPECT_EQ(news(), "threw: no std::exception");
  EXPECT_TRUE(balloon_->distrusted(now_));
  now_ += Balloon::kDistrusted;
  EXPECT_EQ(inflate(10), 10u) << "it gets another chance";
  EXPECT_EQ(driver->asked, 2);
  EXPECT_EQ(guest_.ballooned(), 10u);
}

TEST_F(BalloonDrivers, Hazard37_ADriverWhoseAnswersFreeNothingIsDistrusted) {
  Ranges answer;
  set([&](std::uint64_t) { return answer; });
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(balloon_->distrusted(now_));
    EXPECT_EQ(inflate(256), 256u);
    EXPECT_TRUE(balloon_->exhausted(now_)) << "others are to be asked meanwhile";
    EXPECT_EQ(balloon_->inflate(256, now_), 0u);
    now_ += Balloon::kExhausted;
  }
  EXPECT_TRUE(balloon_->distrusted(now_));
  EXPECT_EQ(news(), "freed 0 bytes of 1 MiB, as little as the times before");
  EXPECT_EQ(balloon_->inflate(256, now_), 0u);
}

TEST_F(BalloonDrivers, Hazard37_WhatPopsBeforeItIsJudgedHasNotBeenFreed) {
  set([&](std::uint64_t) { return Ranges{range(0, 256)}; });
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(balloon_->inflate(256, now_), 256u);
    ASSERT_TRUE(eventually([&] { return !balloon_->busy(); }));
    EXPECT_EQ(guest_.ballooned(), 256u);
    guest_.pop(0, 250);
    now_ += seconds(1);
    balloon_->poll(now_, kTimeout);
    guest_.pop(0, 256);
    now_ += seconds(1);
  }
  EXPECT_EQ(news(), "freed 24 KiB of 1 MiB, as little as the times before");
  EXPECT_TRUE(balloon_->distrusted(now_));
}

TEST_F(BalloonDrivers, Hazard37_ADriverMayCallTheApiAndReplaceItself) {
  std::shared_ptr<Scripted> next = std::make_shared<Scripted>([](std::uint64_t) { return Ranges{range(100, 10)}; });
  std::atomic<bool> gone{false};
  {
    const auto first = set(
        [&](std::uint64_t) {
          EXPECT_TRUE(balloon_->busy());
          EXPECT_EQ(balloon_->inflate(5, now_), 0u);
          balloon_->poll(now_, kTimeout);
          EXPECT_TRUE(balloon_->set_driver(next));
          EXPECT_FALSE(balloon_->busy()) << "the new driver has nothing to do";
          return Ranges{range(0, 10)};
        },
        &gone);
    balloon_->inflate(10, now_);
    ASSERT_TRUE(eventually([&] { return !first->told().empty(); }));
    EXPECT_EQ(first->told(), std::vector<Ranges>{{range(0, 10)}}) << "the answer of a former driver is refused";
  }
  EXPECT_TRUE(eventually([&] { return gone.load(); }));
  EXPECT_EQ(guest_.ballooned(), 0u);
  EXPECT_EQ(inflate(10), 10u);
  EXPECT_EQ(next->asked, 1);
  EXPECT_EQ(guest_.ballooned(), 10u);
}

TEST_F(BalloonDrivers, Hazard37_ADriverThatHangsCanBeReplaced) {
  Hold hold;
  std::atomic<bool> gone{false};
  set(
      [&](std::uint64_t) {
        hold.wait();
        return Ranges{range(0, 10)};
      },
      &gone);
  balloon_->inflate(10, now_);
  ASSERT_TRUE(eventually([&] { return hold.inside.load(); }));
  now_ += seconds(2);
  balloon_->poll(now_, kTimeout);
  EXPECT_TRUE(balloon_->distrusted(now_));
  set([](std::uint64_t) { return Ranges{range(50, 10)}; });
  EXPECT_FALSE(balloon_->distrusted(now_));
  EXPECT_EQ(inflate(10), 10u);
  EXPECT_EQ(guest_.ballooned(), 10u);
  EXPECT_FALSE(gone);
  hold.release();
  EXPECT_TRUE(eventually([&] { return gone.load(); })) << "its thread ends and lets go of it";
  EXPECT_EQ(guest_.ballooned(), 10u);
}

TEST_F(BalloonDrivers, Hazard37_TheEndOfTheGuestDoesNotWaitForADriver) {
  Hold hold;
  std::atomic<bool> gone{false};
  auto driver = set(
      [&](std::uint64_t) {
        hold.wait();
        return Ranges{range(0, 10)};
      },
      &gone);
  balloon_->inflate(10, now_);
  ASSERT_TRUE(eventually([&] { return hold.inside.load(); }));
  balloon_->end();
  guest_.end();
  balloon_.reset();
  std::weak_ptr<Scripted> held = driver;
  driver.reset();
  EXPECT_FALSE(held.expired()) << "the call is under way";
  hold.release();
  EXPECT_TRUE(eventually([&] { return gone.load(); }));
  EXPECT_EQ(guest_.ballooned(), 0u);
}

TEST_F(BalloonDrivers, Hazard37_ADriverMayEndItsOwnGuest) {
  std::atomic<bool> gone{false};
  auto driver = set(
      [&](std::uint64_t) {
        balloon_->end();
        balloon_.reset();
        guest_.end();
        return Ranges{range(0, 10)};
      },
      &gone);
  balloon_->inflate(10, now_);
  ASSERT_TRUE(eventually([&] { return driver.use_count() == 1; }));
  EXPECT_TRUE(driver->told().empty()) << "there is no guest to speak of";
  driver.reset();
  EXPECT_TRUE(gone);
}

}  // namespace
}  // namespace vmm::host
