// Who gets memory, on real memory: shares, reservations, limits and pools, as the kernel counts resident pages.
#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <mutex>
#include <string>
#include <vector>

#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "support/toucher.h"

namespace vmm {
namespace {

using test::Toucher;

class WhoGetsMemory : public test::EachWay {
 protected:
  // An overcommitted host of 128 MiB, without the tax, whose guests are managed and made of small pages.
  void make(void (*adjust)(HostOptions&) = nullptr) {
    auto o = host_options(directory_.path(), 128 * MiB);
    o.idle_tax = 0;
    o.management = Management::at_creation;
    o.rebalance_period = std::chrono::milliseconds(100);  // reclaim is reported then
    if (adjust != nullptr) adjust(o);
    auto host = Host::create(o);
    ASSERT_TRUE(host) << host.error().message();
    host_ = std::move(*host);
    ASSERT_TRUE(host_.on_event([this](const Event& e) {
      const std::lock_guard lock(mutex_);
      events_.push_back(e);
    }));
  }
  // What is on its way out at any moment is some MiB, whatever the size: less beside what is compared.
  static void twice_as_large(HostOptions& o) { o.memory = 256 * MiB; }
  ~WhoGetsMemory() override {
    if (host_) static_cast<void>(host_.on_event({}));
  }
  // Whatever the guests' workload was, now that it has ended: the state is high, and all that was taken was told.
  void TearDown() override {
    if (!host_) return;
    EXPECT_TRUE(ends_high());
    EXPECT_TRUE(test::eventually([&] {
      const auto all = events();
      return std::all_of(guests_.begin(), guests_.end(), [&](const Guest& g) {
        return test::told_of(all, g.stats()->name) == test::counted_of(g);
      });
    })) << "reclaim that was not told";
    EXPECT_EQ(test::wrong_in_reclaim(events()), "");
  }
  Guest& add(const std::string& name, std::uint64_t memory, void (*adjust)(GuestOptions&) = nullptr) {
    auto o = guest_options(name, memory);
    o.large_pages = false;
    if (adjust != nullptr) adjust(o);
    auto guest = host_.create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    return guests_.emplace_back(guest ? std::move(*guest) : Guest());
  }
  // Pages that the kernel has of it in memory: in place and in staging.
  static double resident(const Guest& guest) {
    return static_cast<double>(test::pages_in_memory(guest));
  }
  std::vector<Event> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  // True of 20 looks in a row, between which both have touched pages.
  template <class Condition>
  static bool settles(const Toucher& a, const Toucher& b, Condition condition) {
    int held = 0;
    return test::eventually([&] {
      const auto wait_a = a.touches() + 500, wait_b = b.touches() + 500;
      if (!test::eventually([&] { return a.touches() > wait_a && b.touches() > wait_b; })) return false;
      held = condition() ? held + 1 : 0;
      return held == 20;
    });
  }
  bool ends_high() {
    return test::eventually([&] { return host_.stats()->state == MemoryState::high; });
  }

  const test::TempDirectory directory_;
  Host host_;
  std::mutex mutex_;
  std::vector<Event> events_;
  std::list<Guest> guests_;  // to the end
};

TEST_P(WhoGetsMemory, TwoToOneIsWhatTheKernelSees) {
  make();
  auto& a = add("a", 112 * MiB, [](GuestOptions& o) { o.shares = Shares::custom(2000); });
  auto& b = add("b", 112 * MiB, [](GuestOptions& o) { o.shares = Shares::custom(1000); });
  {
    Toucher busy_a(a, 1, 0, 112 * MiB / kPageSize), busy_b(b, 2, 0, 112 * MiB / kPageSize);
    double ratio = 0;
    EXPECT_TRUE(settles(busy_a, busy_b, [&] {
      ratio = resident(a) / resident(b);
      return ratio > 1.9 && ratio < 2.1;
    })) << ratio;
    // Turned round while they run.
    ASSERT_TRUE(a.configure({.shares = Shares::custom(500)}));
    EXPECT_TRUE(settles(busy_a, busy_b, [&] {
      ratio = resident(b) / resident(a);
      return ratio > 1.9 && ratio < 2.1;
    })) << ratio;
  }
  EXPECT_EQ(test::wrong_in(a, 1), "");
  EXPECT_EQ(test::wrong_in(b, 2), "");
}

TEST_P(WhoGetsMemory, AReservationIsKeptWhateverOthersWant) {
  make();
  auto& kept = add("kept", 64 * MiB, [](GuestOptions& o) { o.shares = Shares::low(); });
  test::fill_guest(kept, 1);
  // The swap file has room for all of it: nothing but the reservation keeps it.
  ASSERT_TRUE(kept.configure({.reservation = 48 * MiB}));
  ASSERT_EQ(kept.stats()->swap_file, 64 * MiB);
  auto& greedy = add("greedy", 128 * MiB, [](GuestOptions& o) { o.shares = Shares::high(); });
  {
    Toucher busy(greedy, 2, 0, 128 * MiB / kPageSize);
    EXPECT_TRUE(test::eventually([&] { return busy.passes() >= 2; }));
    // Nobody touches it: what has left once is gone.
    EXPECT_GE(test::pages_in_memory(kept), 48 * MiB / kPageSize);
    EXPECT_LT(test::pages_in_memory(kept), 52 * MiB / kPageSize) << "with few shares it keeps no more";
  }
  EXPECT_EQ(test::wrong_in(kept, 1), "");
  EXPECT_EQ(test::wrong_in(greedy, 2), "");
}

TEST_P(WhoGetsMemory, ALimitHoldsWithinOnePercentAndCanBeChanged) {
  make();
  auto& guest = add("limited", 96 * MiB, [](GuestOptions& o) { o.limit = 32 * MiB; });
  Toucher busy(guest, 1, 0, 96 * MiB / kPageSize);
  // From the moment on that it holds: the most that the kernel has seen, in staging included.
  const auto holds = [&](std::uint64_t limit, bool from_now_on) {
    const auto l = limit / kPageSize;
    std::uint64_t most = 0;
    const bool settled = settles(busy, busy, [&] {
      const auto now = test::pages_in_memory(guest);
      from_now_on |= now <= l;
      if (from_now_on) most = std::max(most, now);
      return now <= l + l / 100 && now >= l - l / 100;
    });
    EXPECT_LE(most, l + l / 100);
    return settled;
  };
  EXPECT_TRUE(holds(32 * MiB, true)) << guest.stats()->resident;
  EXPECT_EQ(host_.stats()->state, MemoryState::high) << "others have room";
  ASSERT_TRUE(guest.configure({.limit = 16 * MiB}));
  EXPECT_TRUE(holds(16 * MiB, false)) << guest.stats()->resident;
  ASSERT_TRUE(guest.configure({.limit = 64 * MiB}));
  EXPECT_TRUE(holds(64 * MiB, true)) << guest.stats()->resident;
  ASSERT_TRUE(guest.configure({.limit = 0}));
  EXPECT_TRUE(test::eventually([&] { return resident(guest) == 96 * MiB / kPageSize; }));
  busy.stop();
  EXPECT_EQ(test::wrong_in(guest, 1), "");
  const auto all = events();
  EXPECT_TRUE(std::any_of(all.begin(), all.end(), [](const Event& e) {
    return e.kind == EventKind::reclaimed && e.guest == "limited" && e.mechanism == "swap" &&
           e.reason.find("limit") != std::string::npos;
  }));
}

TEST_P(WhoGetsMemory, APoolIsKeptToItsLimitAndDividesItByShares) {
  make();
  ASSERT_TRUE(host_.create_pool("/batch", {.limit = 36 * MiB}));
  const auto in_batch = [](GuestOptions& o) { o.pool = "/batch"; };
  auto& a = add("a", 64 * MiB, in_batch);
  auto& b = add("b", 64 * MiB, in_batch);
  auto& other = add("other", 16 * MiB);
  test::fill_guest(other, 3);
  ASSERT_TRUE(a.configure({.shares = Shares::custom(3000)}));
  ASSERT_TRUE(b.configure({.shares = Shares::custom(1000)}));
  const auto together = [&] { return a.stats()->resident + b.stats()->resident; };
  {
    Toucher busy_a(a, 1, 0, 64 * MiB / kPageSize), busy_b(b, 2, 0, 64 * MiB / kPageSize);
    double ratio = 0;
    EXPECT_TRUE(settles(busy_a, busy_b, [&] {
      ratio = resident(a) / resident(b);
      return ratio > 2.7 && ratio < 3.3 && together() <= 36 * MiB && together() > 36 * MiB / 100 * 99;
    })) << ratio << ", together " << together();
    ASSERT_TRUE(host_.configure_pool("/batch", {.limit = 24 * MiB}));
    EXPECT_TRUE(settles(busy_a, busy_b, [&] { return together() <= 24 * MiB; })) << together();
    // One that leaves the pool is free of it.
    ASSERT_TRUE(b.configure({.pool = "/"}));
    EXPECT_TRUE(test::eventually([&] { return resident(b) == 64 * MiB / kPageSize; }));
    EXPECT_LE(a.stats()->resident, 24 * MiB);
  }
  EXPECT_EQ(other.stats()->swapped, 0u) << "who is not in it pays nothing";
  EXPECT_EQ(test::wrong_in(a, 1), "");
  EXPECT_EQ(test::wrong_in(b, 2), "");
  const auto stats = *host_.stats();
  ASSERT_EQ(stats.pools.size(), 2u);
  EXPECT_EQ(stats.pools[1].name, "/batch");
  EXPECT_LE(stats.pools[1].consumed, 24 * MiB + a.stats()->overhead);
}

// Each level is kept to its own limit, whatever those above and below it would allow.
TEST_P(WhoGetsMemory, NestedPoolsAreKeptToEveryLimitAboveThem) {
  make();
  ASSERT_TRUE(host_.create_pool("/outer", {.limit = 48 * MiB}));
  ASSERT_TRUE(host_.create_pool("/outer/inner", {.shares = Shares::custom(9000), .limit = 24 * MiB}));
  auto& a = add("a", 64 * MiB, [](GuestOptions& o) { o.pool = "/outer/inner"; });
  auto& b = add("b", 64 * MiB, [](GuestOptions& o) {
    o.pool = "/outer";
    o.shares = Shares::custom(1000);
  });
  auto& other = add("other", 16 * MiB);
  test::fill_guest(other, 3);
  const auto pages = [](std::uint64_t bytes) { return static_cast<double>(bytes / kPageSize); };
  {
    Toucher busy_a(a, 1, 0, 64 * MiB / kPageSize), busy_b(b, 2, 0, 64 * MiB / kPageSize);
    const auto is = [&](std::uint64_t of_a, std::uint64_t together) {
      return settles(busy_a, busy_b, [&] {
        const auto ra = resident(a), sum = ra + resident(b);
        const auto held = a.stats()->resident + b.stats()->resident;
        return ra <= pages(of_a) && ra > pages(of_a) * 0.95 && sum <= pages(together) && held <= together &&
               held > together / 100 * 99;
      });
    };
    EXPECT_TRUE(is(24 * MiB, 48 * MiB)) << resident(a) << " and " << resident(b);
    // The outer limit alone: by shares, 9 : 1.
    ASSERT_TRUE(host_.configure_pool("/outer/inner", {.limit = 0}));
    double ratio = 0;
    EXPECT_TRUE(settles(busy_a, busy_b, [&] {
      ratio = resident(a) / resident(b);
      return ratio > 8 && ratio < 10 && a.stats()->resident + b.stats()->resident <= 48 * MiB;
    })) << ratio;
    // A narrower one above.
    ASSERT_TRUE(host_.configure_pool("/outer", {.limit = 20 * MiB}));
    EXPECT_TRUE(settles(busy_a, busy_b, [&] {
      return a.stats()->resident + b.stats()->resident <= 20 * MiB;
    })) << resident(a) << " and " << resident(b);
  }
  EXPECT_EQ(other.stats()->swapped, 0u) << "who is not in it pays nothing";
  EXPECT_EQ(test::wrong_in(a, 1), "");
  EXPECT_EQ(test::wrong_in(b, 2), "");
}

TEST_P(WhoGetsMemory, PoolsDivideMemoryWhateverIsInThem) {
  make(twice_as_large);
  ASSERT_TRUE(host_.create_pool("/one", {.shares = Shares::custom(1000)}));
  ASSERT_TRUE(host_.create_pool("/two", {.shares = Shares::custom(1000)}));
  auto& a = add("a", 192 * MiB, [](GuestOptions& o) { o.pool = "/one"; });
  auto& b = add("b", 192 * MiB, [](GuestOptions& o) {
    o.pool = "/two";
    o.shares = Shares::custom(100'000);
  });
  Toucher busy_a(a, 1, 0, 192 * MiB / kPageSize), busy_b(b, 2, 0, 192 * MiB / kPageSize);
  double ratio = 0;
  EXPECT_TRUE(settles(busy_a, busy_b, [&] {
    ratio = resident(a) / resident(b);
    return ratio > 0.95 && ratio < 1.05;
  })) << ratio;
  ASSERT_TRUE(host_.configure_pool("/one", {.shares = Shares::custom(3000)}));
  EXPECT_TRUE(settles(busy_a, busy_b, [&] {
    ratio = resident(a) / resident(b);
    return ratio > 2.85 && ratio < 3.15;
  })) << ratio;
}

TEST_P(WhoGetsMemory, TheBudgetCanBeLoweredAndRaised) {
  make();
  auto& guest = add("g", 96 * MiB);
  test::fill_guest(guest, 1);
  ASSERT_TRUE(host_.configure({.memory = 64 * MiB}));
  EXPECT_EQ(host_.stats()->memory, 64 * MiB);
  EXPECT_TRUE(test::eventually([&] {
    return host_.stats()->consumed <= 64 * MiB && resident(guest) * kPageSize < 60. * MiB && ends_high();
  }));
  ASSERT_TRUE(host_.configure({.memory = 256 * MiB}));
  EXPECT_EQ(test::wrong_in(guest, 1), "");
  // What was being written when it was touched is there twice until its write has ended.
  EXPECT_TRUE(test::eventually([&] { return resident(guest) == 96 * MiB / kPageSize; })) << resident(guest);
}

// Every change goes to the next state of the ladder, down and up, and in the end the state is high.
TEST_P(WhoGetsMemory, StatesFollowTheLadder) {
  for (const auto ladder : {MemoryLadder::classic, MemoryLadder::sliding}) {
    make(ladder == MemoryLadder::classic ? [](HostOptions&) {} : [](HostOptions& o) {
      o.memory_ladder = MemoryLadder::sliding;
    });
    {
      auto& a = add("a", 128 * MiB);
      auto& b = add("b", 128 * MiB);
      Toucher busy_a(a, 1, 0, 128 * MiB / kPageSize), busy_b(b, 2, 0, 128 * MiB / kPageSize);
      EXPECT_TRUE(test::eventually([&] { return busy_a.passes() + busy_b.passes() > 2; }));
    }
    EXPECT_TRUE(ends_high());
    std::vector<std::string> order = {"high", "clear", "soft", "hard", "low"};
    if (ladder == MemoryLadder::classic) std::erase(order, "clear");
    const auto place = [&](const std::string& state) {
      return std::find(order.begin(), order.end(), state) - order.begin();
    };
    EXPECT_TRUE(test::eventually([&] {
      const auto all = events();
      const auto last = std::find_if(all.rbegin(), all.rend(),
                                     [](const Event& e) { return e.kind == EventKind::state_changed; });
      return last != all.rend() && last->mechanism == "high";
    }));
    std::string now = "high";
    int changes = 0;
    for (const auto& e : events()) {
      if (e.kind != EventKind::state_changed) continue;
      EXPECT_LT(place(e.mechanism), static_cast<std::ptrdiff_t>(order.size())) << e.mechanism;
      EXPECT_EQ(std::abs(place(e.mechanism) - place(now)), 1) << now << " -> " << e.mechanism;
      EXPECT_EQ(e.reason.find(now + " -> " + e.mechanism), 0u) << e.reason;
      now = e.mechanism;
      ++changes;
    }
    EXPECT_GE(changes, 2);
    if (ladder == MemoryLadder::sliding) break;
    static_cast<void>(host_.on_event({}));
    guests_.clear();
    host_ = Host();
    events_.clear();
  }
}

VMM_EACH_WAY(WhoGetsMemory);

}  // namespace
}  // namespace vmm
