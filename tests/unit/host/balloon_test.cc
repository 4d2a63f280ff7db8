#include "host/balloon.h"

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/balloon_fakes.h"
#include "os/call.h"
#include "support/call_hook.h"

namespace vmm::host {
namespace {

using std::chrono::seconds;
using test::eventually;
using test::Hold;
using test::kStart;
using test::kTimeout;
using test::range;
using test::Ranges;
using test::Scripted;

class BalloonTest : public test::BalloonFixture {};

TEST_F(BalloonTest, GivesWhatTheDriverNamesAndTellsItThatItWasDealtWith) {
  EXPECT_FALSE(balloon_->has_driver());
  EXPECT_EQ(balloon_->inflate(10, now_), 0u) << "no driver";
  std::uint64_t asked = 0;
  const auto driver = set([&](std::uint64_t bytes) {
    asked = bytes;
    return Ranges{range(0, 600), range(700, 100)};
  });
  EXPECT_TRUE(balloon_->has_driver());
  EXPECT_EQ(inflate(700), 700u);
  EXPECT_EQ(asked, 700 * kPageSize);
  EXPECT_EQ(guest_.ballooned(), 700u);
  EXPECT_EQ(driver->told(), std::vector<Ranges>{{}}) << "nothing was refused";
  EXPECT_EQ(guest_.refused(), 0u);
  EXPECT_EQ(news(), "");
  EXPECT_FALSE(balloon_->exhausted(now_) || balloon_->distrusted(now_));
}

TEST_F(BalloonTest, Hazard38_NoMoreThanTheRoomIsAskedForOrTaken) {
  guest_.set_room(100);
  std::uint64_t asked = 0;
  const auto driver = set([&](std::uint64_t bytes) {
    asked = bytes / kPageSize;
    return Ranges{range(0, 80), range(200, 500)};
  });
  EXPECT_EQ(inflate(700), 100u);
  EXPECT_EQ(asked, 100u);
  EXPECT_EQ(guest_.ballooned(), 100u);
  EXPECT_EQ(guest_.refused(), 480u);
  EXPECT_EQ(driver->told(), std::vector<Ranges>{{range(220, 480)}});
  EXPECT_EQ(balloon_->inflate(1, now_), 0u) << "no room";
}

TEST_F(BalloonTest, DeflateTakesBackWhatWasGivenLast) {
  Ranges answer;
  const auto driver = set([&](std::uint64_t) { return answer; });
  for (const std::uint64_t first : {500u, 100u, 300u}) {
    answer = {range(first, 50)};
    EXPECT_EQ(inflate(50), 50u);
  }
  guest_.pop(340, 5);
  ASSERT_TRUE(balloon_->deflate(60, now_));
  settle();
  // 45 of 300-349, and the last of 100-149.
  EXPECT_EQ(guest_.ballooned(), 100 - 15u);
  EXPECT_EQ(driver->told().back(), (Ranges{range(300, 40), range(345, 5), range(135, 15)}));
  ASSERT_TRUE(balloon_->deflate(1000, now_));
  settle();
  EXPECT_EQ(guest_.ballooned(), 0u);
  EXPECT_EQ(driver->told().back(), (Ranges{range(100, 35), range(500, 50)}));
  const auto calls = driver->told().size();
  ASSERT_TRUE(balloon_->deflate(10, now_));
  settle();
  EXPECT_EQ(driver->told().size(), calls) << "there was nothing to tell";
}

TEST_F(BalloonTest, DeflateFindsAlsoWhatIsNotRemembered) {
  const auto every_second = set([&](std::uint64_t) {
    Ranges all;
    for (std::uint64_t page = 0; page < 1024; page += 2) all.push_back(range(page, 1));
    return all;
  });
  inflate(512);
  ASSERT_EQ(guest_.ballooned(), 512u);
  // Of a driver that is gone, too.
  const auto next = set([&](std::uint64_t) { return Ranges{}; });
  ASSERT_TRUE(balloon_->deflate(300, now_));
  settle();
  EXPECT_EQ(guest_.ballooned(), 212u);
  ASSERT_EQ(next->told().size(), 1u);
  EXPECT_EQ(next->told()[0].size(), 300u);
}

TEST_F(BalloonTest, OneRequestAtATime) {
  Hold hold;
  const auto driver = set([&](std::uint64_t) {
    hold.wait();
    return Ranges{range(0, 10)};
  });
  EXPECT_EQ(balloon_->inflate(10, now_), 10u);
  EXPECT_TRUE(balloon_->busy());
  EXPECT_EQ(balloon_->inflate(10, now_), 0u);
  EXPECT_FALSE(balloon_->deflate(10, now_));
  hold.release();
  settle();
  EXPECT_EQ(guest_.ballooned(), 10u);
  EXPECT_EQ(driver->asked, 1);
}

TEST_F(BalloonTest, ADriverThatHasLittleLeftIsExhaustedAndNotDistrusted) {
  std::uint64_t next = 0;
  set([&](std::uint64_t) { return Ranges{range(std::exchange(next, next + 32), 32)}; });
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(inflate(256), 256u);
    EXPECT_TRUE(balloon_->exhausted(now_));
    EXPECT_FALSE(balloon_->distrusted(now_));
    now_ += Balloon::kExhausted;
    EXPECT_FALSE(balloon_->exhausted(now_));
  }
  EXPECT_EQ(guest_.ballooned(), 160u);
  EXPECT_EQ(news(), "");
}

// Memory that comes back at once was not given up.

TEST_F(BalloonTest, AFormerDriverIsCalledNoMoreAndGivenBack) {
  const auto former = set([](std::uint64_t) { return Ranges{}; });
  const auto r = balloon_->set_driver(nullptr);
  ASSERT_TRUE(r);
  EXPECT_EQ(*r, former);
  EXPECT_FALSE(balloon_->has_driver());
  EXPECT_EQ(balloon_->inflate(10, now_), 0u);
  EXPECT_EQ(former->asked, 0);
}

TEST_F(BalloonTest, TheEndGivesTheDriverBackAndNothingIsAcceptedAfterIt) {
  const auto driver = set([](std::uint64_t) { return Ranges{}; });
  EXPECT_EQ(balloon_->end(), driver);
  EXPECT_EQ(balloon_->end(), nullptr);
  EXPECT_EQ(driver.use_count(), 1);
  const auto r = balloon_->set_driver(driver);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::inert_handle);
  EXPECT_EQ(balloon_->inflate(10, now_), 0u);
  EXPECT_FALSE(balloon_->deflate(10, now_) || balloon_->busy());
}

TEST_F(BalloonTest, WithoutAThreadTheFormerDriverStays) {
  const auto former = set([](std::uint64_t) { return Ranges{range(0, 10)}; });
  {
    test::CallHook hook;
    hook.fail(os::Call::thread_create, EAGAIN);
    const auto r = balloon_->set_driver(std::make_shared<Scripted>([](std::uint64_t) { return Ranges{}; }));
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, std::error_code(EAGAIN, std::generic_category()));
  }
  EXPECT_EQ(inflate(10), 10u);
  EXPECT_EQ(former->asked, 1);
}

// Drivers come and go, requests are made, and the guest ends in the middle of it.

TEST_F(BalloonTest, EndRacesEverything) {
  for (int round = 0; round < 100; ++round) {
    test::FakeGuest guest(1024);
    auto next = std::make_shared<std::atomic<std::uint64_t>>(0);
    std::weak_ptr<std::atomic<std::uint64_t>> drivers = next;
    auto script = [next](std::uint64_t) { return Ranges{range(next->fetch_add(7) % 1000, 24)}; };
    next.reset();
    std::optional<decltype(script)> kept(std::move(script));
    auto balloon = std::make_unique<Balloon>(guest);
    std::atomic<bool> over{false};
    std::atomic<int> steps{0};
    std::thread setter([&] {
      while (!over) static_cast<void>(balloon->set_driver(std::make_shared<Scripted>(*kept)));
    });
    std::thread asker([&] {
      for (auto now = kStart; !over; now += seconds(1), ++steps) {
        balloon->inflate(20, now);
        balloon->poll(now, kTimeout);
        balloon->deflate(5, now);
        guest.pop(0, 1024);
      }
    });
    EXPECT_TRUE(eventually([&] { return steps > 20; }));
    balloon->end();
    guest.end();
    over = true;
    setter.join();
    asker.join();
    balloon.reset();
    kept.reset();
    EXPECT_TRUE(eventually([&] { return drivers.expired(); })) << "a thread that was left to itself keeps its driver";
  }
}

}  // namespace
}  // namespace vmm::host
