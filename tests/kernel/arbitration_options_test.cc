// Every option of who gets memory shows its effect, its off value too; what is changed while guests run; bad values.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "vmm/page_list_driver.h"

namespace vmm {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::eventually;
using test::HostRig;
using test::page_at;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::uint64_t kPages = 64 * MiB / kPageSize;

class ArbitrationOptions : public test::EachWay {
 protected:
  static void adjust(HostOptions& o) {
    o.idle_tax = 0;
    o.sample_pages = 0;
    o.balance_period = hours(1);
  }
  Guest add(const std::string& name, std::uint64_t memory, const std::function<void(GuestOptions&)>& set = nullptr) {
    auto o = guest_options(name, memory);
    o.large_pages = false;
    if (set) set(o);
    auto guest = rig_.host().create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    return guest ? std::move(*guest) : Guest();
  }
  HostStats stats() { return *rig_.host().stats(); }
  // Waits until free memory is as the host wants it, ahead of its mark too.
  bool rests() {
    return eventually([&] {
      const auto s = stats();
      return s.state == MemoryState::high && s.free >= s.min_free;
    });
  }
  // Fills so many pages more of a guest, slowly: memory that is short is had before it goes on.
  void grow(const Guest& guest, std::uint64_t id, std::uint64_t pages) {
    for (std::uint64_t i = 0; i < pages; ++i, ++grown_) {
      test::fill_page(page_at(guest, grown_), id, grown_, 1);
      if (i % 32 != 31) continue;
      // The next step stays above the mark.
      ASSERT_TRUE(eventually([&] { return stats().free >= stats().min_free + 128 * kPageSize; }));
    }
  }
  // A guest of 64 MiB, wholly resident, the upper half of which is free and known to its driver.
  Guest add_ballooned(const std::function<void(GuestOptions&)>& set = nullptr) {
    driver_ = std::make_shared<PageListDriver>();
    auto guest = add("ballooned", kPages * kPageSize, set);
    test::fill_guest(guest, 1);
    EXPECT_TRUE(driver_->add_free(kPages / 2 * kPageSize, kPages / 2 * kPageSize));
    EXPECT_TRUE(guest.set_balloon(driver_));
    return guest;
  }
  static std::string wrong_in_use(const Guest& guest) {
    std::string text;
    for (std::uint64_t page = 0; page < kPages / 2 && text.empty(); ++page)
      text = test::wrong_page(page_at(guest, page), 1, page, 1);
    return text;
  }

  HostRig rig_{GetParam(), adjust};
  std::uint64_t grown_ = 0;
  std::shared_ptr<PageListDriver> driver_;
};
VMM_EACH_WAY(ArbitrationOptions);

// 64 of 128 MiB, then 56, 2 at a time: a guest whose allocator knows what is free is never swapped.
TEST_P(ArbitrationOptions, TheBalloonComesBeforeSwapAndAheadOfTheStateSoft) {
  auto guest = add_ballooned();
  auto other = add("other", 80 * MiB, [](GuestOptions& o) { o.shares = Shares::custom(1'000'000); });
  grow(other, 2, 72 * MiB / kPageSize);
  // Asked for little by little: looked at when nothing is under way.
  GuestStats s;
  EXPECT_TRUE(eventually([&] {
    s = *guest.stats();
    return s.ballooned > 10 * MiB && driver_->given_bytes() == s.ballooned &&
           test::resident_pages(page_at(guest, kPages / 2), kPages / 2) == kPages / 2 - s.ballooned / kPageSize;
  }));
  EXPECT_GT(s.ballooned, 10 * MiB);
  EXPECT_EQ(s.swapped_out, 0u);
  EXPECT_EQ(other.stats()->swapped_out, 0u);
  rig_.tick();
  EXPECT_TRUE(rig_.events(EventKind::state_changed).empty()) << "it began ahead";
  EXPECT_EQ(test::resident_pages(page_at(guest, 0), kPages / 2), kPages / 2);
  const auto reclaimed = rig_.events(EventKind::reclaimed);
  EXPECT_TRUE(std::any_of(reclaimed.begin(), reclaimed.end(), [](const Event& e) {
    return e.guest == "ballooned" && e.mechanism == "balloon" && e.bytes > 0 && !e.reason.empty();
  }));
  // A touch brings zeros, and the balloon is smaller by it.
  const auto used = kPages - 1;
  EXPECT_TRUE(test::is_zero(page_at(guest, used)));
  EXPECT_TRUE(eventually([&] { return guest.stats()->balloon_popped == kPageSize; }));
  EXPECT_EQ(wrong_in_use(guest), "");
  // Given back when memory is plentiful: a part each balance period, none between.
  ASSERT_TRUE(rig_.host().configure({.balance_period = seconds(15)}));
  other = Guest();
  // The one that was touched is known to the host alone.
  const auto settled = [&] { return guest.stats()->ballooned == driver_->given_bytes() - kPageSize; };
  rig_.tick(hours(1));
  EXPECT_TRUE(eventually([&] { return guest.stats()->ballooned < s.ballooned - kPageSize && settled(); }));
  int steps = 0;
  for (; guest.stats()->ballooned > 0 && steps < 20; ++steps) {
    const auto before = guest.stats()->ballooned;
    rig_.tick(seconds(12));
    EXPECT_EQ(guest.stats()->ballooned, before) << "not within a period";
    rig_.tick(seconds(4));
    EXPECT_TRUE(eventually([&] { return guest.stats()->ballooned < before && settled(); }));
    EXPECT_GE(guest.stats()->ballooned + std::max(before / 4, 4 * MiB) + 2 * MiB, before) << "slowly";
  }
  EXPECT_GT(steps, 2);
  EXPECT_EQ(test::told_of(rig_.events(), "ballooned"), test::counted_of(guest));
  for (auto page = kPages / 2; page < kPages; ++page) {
    if (test::is_zero(page_at(guest, page))) continue;
    ASSERT_EQ(test::wrong_page(page_at(guest, page), 1, page, 1), "") << "never given";
  }
  EXPECT_EQ(wrong_in_use(guest), "");
}

TEST_P(ArbitrationOptions, TheBalloonIsAsLargeAsItMayBe) {
  auto guest = add_ballooned();
  const auto most = [&] {
    rig_.tick();
    return guest.stats()->balloon_max;
  };
  EXPECT_EQ(most(), kPages * 65 / 100 * kPageSize) << "the default";
  ASSERT_TRUE(rig_.host().configure({.balloon_max_percent = 10u}));
  EXPECT_EQ(most(), kPages * 10 / 100 * kPageSize);
  ASSERT_TRUE(guest.configure({.balloon_max = 2 * MiB}));
  EXPECT_EQ(most(), 2 * MiB);
  ASSERT_TRUE(rig_.host().configure({.balloon_max_percent = 95u}));
  ASSERT_TRUE(guest.configure({.reservation = 60 * MiB, .balloon_max = 64 * MiB}));
  EXPECT_EQ(most(), 4 * MiB) << "what is reserved is not asked for";
  ASSERT_TRUE(guest.configure({.reservation = 0}));
  for (const bool host : {false, true}) {
    SCOPED_TRACE(host ? "balloon_max_percent = 0" : "balloon_max = 0");
    ASSERT_TRUE(rig_.host().configure({.balloon_max_percent = host ? 0u : 65u}));
    ASSERT_TRUE(guest.configure({.balloon_max = host ? 64 * MiB : 0}));
    EXPECT_EQ(most(), 0u);
    auto other = add("other", 80 * MiB, [](GuestOptions& o) { o.shares = Shares::custom(1'000'000); });
    test::fill_guest(other, 2);
    EXPECT_TRUE(rests());
    EXPECT_EQ(guest.stats()->ballooned_out, 0u) << "nothing is asked of it";
    EXPECT_GT(guest.stats()->swapped_out, 0u);
  }
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

// Memory is plentiful: a guest above its limit is ballooned for that, and the event says so.
TEST_P(ArbitrationOptions, ALimitIsKeptByTheBalloonFirst) {
  auto guest = add_ballooned();
  ASSERT_TRUE(guest.configure({.limit = 48 * MiB}));
  EXPECT_TRUE(eventually([&] { return guest.stats()->resident <= 48 * MiB; }));
  EXPECT_TRUE(eventually([&] { return guest.stats()->ballooned_out > 0; }));
  rig_.tick();
  const auto reclaimed = rig_.events(EventKind::reclaimed);
  EXPECT_TRUE(std::any_of(reclaimed.begin(), reclaimed.end(), [](const Event& e) {
    return e.guest == "ballooned" && e.mechanism == "balloon" && e.reason == "the guest's limit of 48 MiB";
  }));
  EXPECT_EQ(wrong_in_use(guest), "");
}

// The driver hangs: how long it is waited for follows the option, also when it is changed meanwhile.
TEST_P(ArbitrationOptions, BalloonTimeoutIsHowLongADriverIsWaitedFor) {
  std::atomic<bool> inside{false}, go{false};
  const auto driver = std::make_shared<PageListDriver>([&](std::uint64_t) {
    inside = true;
    go.wait(false);
  });
  ASSERT_TRUE(rig_.host().configure({.balloon_timeout = hours(1)}));
  auto guest = add("g", 64 * MiB);
  test::fill_guest(guest, 1);
  ASSERT_TRUE(guest.set_balloon(driver));
  auto other = add("other", 80 * MiB, [](GuestOptions& o) { o.shares = Shares::custom(1'000'000); });
  test::fill_guest(other, 2);
  EXPECT_TRUE(eventually([&] { return inside.load(); }));
  rig_.tick(std::chrono::minutes(59));
  EXPECT_FALSE(guest.stats()->balloon_distrusted);
  ASSERT_TRUE(rig_.host().configure({.balloon_timeout = milliseconds(1234)}));
  rig_.tick(seconds(2));
  rig_.tick();
  EXPECT_TRUE(guest.stats()->balloon_distrusted);
  const auto told = rig_.events(EventKind::balloon_distrusted);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(told[0].reason, HasSubstr("1234 ms"));
  go = true;
  go.notify_all();
  EXPECT_TRUE(rests());
  EXPECT_EQ(test::wrong_in(guest, 1), "");
  ASSERT_TRUE(guest.set_balloon(nullptr));
}

TEST_P(ArbitrationOptions, MinFreeIsWhatStaysFree) {
  auto guest = add("g", 160 * MiB);
  for (const double part : {0.06, 0.25, 0.0}) {
    SCOPED_TRACE(part);
    ASSERT_TRUE(rig_.host().configure({.min_free = part}));
    EXPECT_NEAR(static_cast<double>(stats().min_free), part * 128 * MiB, 2 * kPageSize);
    test::fill_guest(guest, 1);
    EXPECT_TRUE(rests());
    const auto free = stats().free;
    EXPECT_GE(static_cast<double>(free), part * 128 * MiB - 2 * kPageSize);
    EXPECT_LT(static_cast<double>(free), (part * 1.3 + 0.06) * 128 * MiB) << "and little more";
  }
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

TEST_P(ArbitrationOptions, TheSlidingLadderTakesMinFreeFromTheSizeOfTheMemory) {
  ASSERT_TRUE(rig_.host().configure({.min_free = 0.4}));
  EXPECT_GT(stats().min_free, 51 * MiB);
  ASSERT_TRUE(rig_.host().configure({.memory_ladder = MemoryLadder::sliding}));
  EXPECT_NEAR(static_cast<double>(stats().min_free), 0.06 * 128 * MiB, 2 * kPageSize) << "min_free says nothing";
  ASSERT_TRUE(rig_.host().configure({.memory = 28 * GiB}));
  EXPECT_NEAR(static_cast<double>(stats().min_free) / MiB, 901.1, 0.1);
  ASSERT_TRUE(rig_.host().configure({.memory_ladder = MemoryLadder::classic}));
  EXPECT_NEAR(static_cast<double>(stats().min_free), 0.4 * 28 * GiB, 2 * kPageSize);
}

TEST_P(ArbitrationOptions, SharesAreTheirNumbers) {
  struct Case {
    Shares shares;
    std::uint64_t count;
  };
  auto guest = add("g", 64 * MiB);
  EXPECT_EQ(guest.stats()->shares, 640u) << "normal";
  for (const auto& c : {Case{Shares::low(), 320}, Case{Shares::high(), 1280}, Case{Shares::custom(7), 7}}) {
    ASSERT_TRUE(guest.configure({.shares = c.shares}));
    EXPECT_EQ(guest.stats()->shares, c.count);
  }
}

// What is not named stays; what is refused changes nothing.
TEST_P(ArbitrationOptions, AChangeOfAGuestIsAllOrNothing) {
  ASSERT_TRUE(rig_.host().create_pool("/narrow", {.reservation = 8 * MiB, .expandable_reservation = false}));
  auto guest = add("g", 64 * MiB, [](GuestOptions& o) {
    o.reservation = 16 * MiB;
    o.limit = 48 * MiB;
    o.shares = Shares::custom(77);
  });
  ASSERT_TRUE(guest.configure({.balloon_max = 4 * MiB}));
  const auto expect = [&](std::uint64_t reservation, std::uint64_t limit, const std::string& pool) {
    const auto s = *guest.stats();
    EXPECT_EQ(s.reservation, reservation);
    EXPECT_EQ(s.limit, limit);
    EXPECT_EQ(s.shares, 77u);
    EXPECT_EQ(s.pool, pool);
    EXPECT_GE(s.swap_file, 64 * MiB - reservation) << "there is room for all that may leave";
    EXPECT_EQ(stats().guests[0].reservation, reservation);
  };
  expect(16 * MiB, 48 * MiB, "/");
  const auto file = guest.stats()->swap_file;
  const auto refused = [&](const GuestChange& change, std::error_code code, const std::vector<std::string>& texts) {
    const auto r = guest.configure(change);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, code) << r.error().message();
    for (const auto& text : texts) EXPECT_THAT(r.error().message(), HasSubstr(text));
    expect(16 * MiB, 48 * MiB, "/");
    EXPECT_EQ(guest.stats()->swap_file, file);
  };
  const auto invalid = std::make_error_code(std::errc::invalid_argument);
  refused({.reservation = 56 * MiB}, invalid, {"GuestOptions::limit = 50331648", "58720256"});
  refused({.shares = Shares::custom(1), .limit = 1 * MiB}, invalid, {"GuestOptions::limit = 1048576"});
  refused({.shares = Shares::custom(0)}, invalid, {"GuestOptions::shares"});
  refused({.reservation = 0, .pool = "/nowhere"}, invalid, {"GuestOptions::pool = \"/nowhere\"", "create the pool"});
  refused({.shares = Shares::low(), .pool = "/narrow"}, make_error_code(Errc::admission_refused),
          {"the reservation of pool \"/narrow\"", "are missing", "expandable"});
  auto second = add("second", 64 * MiB, [](GuestOptions& o) { o.reservation = 64 * MiB; });
  refused({.reservation = 44 * MiB}, make_error_code(Errc::admission_refused),
          {"GuestOptions::reservation = 46137344", "are missing", "HostOptions::memory"});
  second = Guest();
  // And what is right takes effect at once.
  ASSERT_TRUE(guest.configure({.reservation = 4 * MiB}));
  expect(4 * MiB, 48 * MiB, "/");
  EXPECT_EQ(guest.stats()->swap_file, 60 * MiB) << "what is reserved no more may have to leave";
  ASSERT_TRUE(guest.configure({.limit = 0, .pool = "/narrow"}));
  expect(4 * MiB, 0, "/narrow");
  test::fill_guest(guest, 1);
  while (guest.stats()->resident > 5 * MiB) ASSERT_GT(HostRig::reclaim_all(guest), 0u);
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

TEST_P(ArbitrationOptions, AChangeOfAPoolIsAllOrNothing) {
  auto& host = rig_.host();
  ASSERT_TRUE(host.create_pool("/p", {.reservation = 32 * MiB, .expandable_reservation = false, .limit = 64 * MiB}));
  auto guest = add("g", 32 * MiB, [](GuestOptions& o) {
    o.pool = "/p";
    o.reservation = 24 * MiB;
  });
  bool expandable = false;
  const auto refused = [&](const PoolChange& change, const std::string& text) {
    const auto r = host.configure_pool("/p", change);
    ASSERT_FALSE(r);
    EXPECT_THAT(r.error().message(), AllOf(HasSubstr("/p"), HasSubstr(text)));
    const auto pool = stats().pools[1];
    EXPECT_EQ(pool.reservation, 32 * MiB);
    EXPECT_EQ(pool.limit, 64 * MiB);
    EXPECT_EQ(pool.expandable_reservation, expandable);
  };
  refused({.reservation = 16 * MiB}, "are missing");
  refused({.reservation = 127 * MiB, .limit = 0}, "HostOptions::memory");
  refused({.limit = 16 * MiB}, "at least the reservation");
  refused({.shares = Shares::custom(0)}, "PoolOptions::shares");
  const auto o = [&] {
    auto more = guest_options("more", 16 * MiB);
    more.reservation = 16 * MiB;
    more.pool = "/p";
    return more;
  }();
  const auto r = host.create_guest(o);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::admission_refused);
  EXPECT_THAT(r.error().message(), AllOf(HasSubstr("\"more\""), HasSubstr("the reservation of pool \"/p\"")));
  expandable = true;
  ASSERT_TRUE(host.configure_pool("/p", {.expandable_reservation = true}));
  auto more = host.create_guest(o);
  ASSERT_TRUE(more) << "what the pool lacks is borrowed: " << more.error().message();
  EXPECT_GT(stats().pools[1].reserved, stats().pools[1].reservation);
  refused({.expandable_reservation = false}, "are missing");
}

TEST_P(ArbitrationOptions, AChangeOfTheHostIsAllOrNothing) {
  auto guest = add("g", 64 * MiB, [](GuestOptions& o) { o.reservation = 48 * MiB; });
  struct Case {
    HostChange change;
    const char *field, *value, *remedy;
  };
  const Case cases[] = {
      {{.memory = 32 * MiB, .idle_tax = 0.5}, "HostOptions::memory", "33554432", "lower reservations"},
      {{.memory = 1 * MiB}, "HostOptions::memory", "1048576", "16777216"},
      {{.min_free = 0.6}, "HostOptions::min_free", "0.6", "0 to 0.5"},
      {{.balance_period = milliseconds(0)}, "HostOptions::balance_period", "0 ms", "at least 1 ms"},
      {{.idle_tax = 1.0}, "HostOptions::idle_tax", "1.0", "0.99"},
      {{.idle_tax = -0.5}, "HostOptions::idle_tax", "-0.5", "0 (shares alone)"},
      {{.sample_pages = 10'001u}, "HostOptions::sample_pages", "10001", "0 for none"},
      {{.sample_period = milliseconds(9)}, "HostOptions::sample_period", "9 ms", "at least 10 ms"},
      {{.balloon_max_percent = 96u}, "HostOptions::balloon_max_percent", "96", "0 (no ballooning) to 95"},
      {{.balloon_timeout = milliseconds(0)}, "HostOptions::balloon_timeout", "0 ms", "at least 1 ms"},
      {{.stop_timeout = milliseconds(-1)}, "HostOptions::stop_timeout", "-1 ms", "0 or more"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.field) + " = " + c.value);
    auto change = c.change;
    if (!change.min_free) change.min_free = 0.1;  // right by itself
    const auto r = rig_.host().configure(change);
    ASSERT_FALSE(r);
    EXPECT_THAT(r.error().operation, AllOf(HasSubstr(c.field), HasSubstr(c.value)));
    EXPECT_THAT(r.error().remedy, HasSubstr(c.remedy));
    EXPECT_EQ(stats().memory, 128 * MiB);
    EXPECT_NEAR(static_cast<double>(stats().min_free), 0.06 * 128 * MiB, 2 * kPageSize);
  }
  auto o = guest_options("taxed", 4 * MiB);
  o.idle_tax = 2;
  const auto made = rig_.host().create_guest(o);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message(), AllOf(HasSubstr("GuestOptions::idle_tax = 2"), HasSubstr("0.99")));
  const auto changed = guest.configure({.reservation = 0, .idle_tax = -1});
  ASSERT_FALSE(changed);
  EXPECT_THAT(changed.error().message(), HasSubstr("GuestOptions::idle_tax = -1"));
  EXPECT_EQ(guest.stats()->reservation, 48 * MiB);
}

}  // namespace
}  // namespace vmm
