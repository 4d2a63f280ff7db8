// Active memory of guests in a host that is short of it: what statistics say, and what the tax on idle memory does.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "support/seed.h"
#include "support/toucher.h"

namespace vmm {
namespace {

using test::HostRig;
using test::page_at;
using test::Toucher;

constexpr std::chrono::seconds kPeriod{60};
constexpr std::uint64_t kPages = 48 * MiB / kPageSize;

// A host of 128 MiB whose guests hold 112 MiB: the state is high, and less than a quarter is free.
class ActiveMemory : public test::EachWay {
 protected:
  static void adjust(HostOptions& o) { o.sample_period = kPeriod; }

  // Filled with patterns, version 1.
  Guest add(const std::string& name, std::uint64_t pages, std::uint64_t id) {
    auto guest = rig_.add(name, pages);
    test::fill_guest(guest, id);
    return guest;
  }
  // Reads or writes `count` pages all over the guest; which ones differs from call to call.
  void touch(const Guest& guest, std::uint64_t id, std::uint64_t count) {
    const auto pages = guest.memory().size() / kPageSize;
    const auto first = random_.below(pages);
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto page = (first + i * 5) % pages;  // 5 is no divisor of any size here
      if (random_.below(2) == 0) test::fill_page(page_at(guest, page), id, page, 1);
      else EXPECT_EQ(test::wrong_page(page_at(guest, page), id, page, 1), "");
    }
  }
  void end_period() { rig_.tick(kPeriod); }
  static double active(const Guest& guest) {
    const auto s = *guest.stats();
    return static_cast<double>(s.active) / static_cast<double>(s.memory);
  }

  HostRig rig_{GetParam(), adjust};
  base::Random random_{test::seed()};
};
VMM_EACH_WAY(ActiveMemory);

TEST_P(ActiveMemory, ItWaitsWhileMemoryIsPlentiful) {
  auto guest = add("g", kPages, 1);
  for (int i = 0; i < 5; ++i) end_period();
  auto s = *guest.stats();
  EXPECT_EQ(s.samples, 0u);
  EXPECT_EQ(s.active, s.memory);
  EXPECT_EQ(s.sample_faults, 0u);
  EXPECT_EQ(test::resident_pages(guest.memory().data(), kPages), kPages) << "nothing is watched";
  auto other = add("other", 64 * MiB / kPageSize, 2);
  end_period();
  EXPECT_EQ(guest.stats()->samples, 0u) << "the first period has begun";
  end_period();
  EXPECT_EQ(guest.stats()->samples, 1u);
  EXPECT_EQ(guest.stats()->active, 0u) << "nobody touched it";
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

// With as many pages as the guest has, the sample is the truth.
TEST_P(ActiveMemory, AllPagesWatchedTellThePreciseTruth) {
  ASSERT_TRUE(rig_.host().configure({.sample_pages = 10'000u}));
  auto guest = add("g", 2048, 1);
  auto other = add("other", 104 * MiB / kPageSize, 2);
  rig_.tick();
  for (const std::uint64_t touched : {0u, 1u, 512u, 1024u, 2047u, 2048u, 300u}) {
    touch(guest, 1, touched);
    end_period();
    const auto s = *guest.stats();
    // A page that is just being worked on when the period begins is not watched.
    EXPECT_NEAR(s.sampled, static_cast<double>(touched) / 2048, 0.002);
    EXPECT_LE(s.active_error, s.memory / 1000);
    EXPECT_GE(s.active, touched * kPageSize / 100 * 96) << "idleness is believed slowly, use at once";
  }
  EXPECT_EQ(guest.stats()->samples, 7u);
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

TEST_P(ActiveMemory, ARandomSampleIsWithinItsError) {
  auto guest = add("g", kPages, 1);
  auto other = add("other", 64 * MiB / kPageSize, 2);
  rig_.tick();
  const double truth = 0.3;
  double sum = 0;
  int within = 0;
  constexpr int kPeriods = 24;
  const auto faults = guest.stats()->faults;
  for (int i = 0; i < kPeriods; ++i) {
    touch(guest, 1, static_cast<std::uint64_t>(truth * static_cast<double>(kPages)));
    end_period();
    const auto s = *guest.stats();
    EXPECT_LE(s.active_error, 51 * s.memory / 1000) << "at most five points with 100 pages";
    sum += s.sampled;
    within += std::abs(s.sampled - truth) <= 2 * std::sqrt(truth * (1 - truth) / 100) ? 1 : 0;
  }
  // Of 24, 95 % and more on average; fewer than 17 are less likely than once in 100,000 times.
  EXPECT_GE(within, 17);
  EXPECT_NEAR(sum / kPeriods, truth, 5 * std::sqrt(truth * (1 - truth) / 100 / kPeriods));
  const auto s = *guest.stats();
  EXPECT_EQ(s.samples, static_cast<std::uint64_t>(kPeriods));
  EXPECT_LE(s.sample_faults, 100u * kPeriods) << "at most one a watched page";
  EXPECT_GT(s.sample_faults, 0u);
  EXPECT_LE(s.faults - faults, 100u * kPeriods) << "and no other faults for it";
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

TEST_P(ActiveMemory, UseIsBelievedWithinOnePeriodAndIdlenessWithinThree) {
  ASSERT_TRUE(rig_.host().configure({.sample_pages = 4000u}));
  auto guest = add("g", kPages, 1);
  auto other = add("other", 64 * MiB / kPageSize, 2);
  rig_.tick();
  end_period();
  EXPECT_LT(active(guest), 0.01);
  touch(guest, 1, kPages);
  rig_.tick(kPeriod / 4);
  EXPECT_GT(active(guest), 0.99) << "before the period is over";
  end_period();
  EXPECT_GT(active(guest), 0.95);
  for (int i = 0; i < 3; ++i) end_period();
  EXPECT_LT(active(guest), 0.06);
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

TEST_P(ActiveMemory, ZeroPagesTurnItOff) {
  auto guest = add("g", kPages, 1);
  auto other = add("other", 64 * MiB / kPageSize, 2);
  rig_.tick();
  end_period();
  EXPECT_EQ(guest.stats()->samples, 1u);
  EXPECT_EQ(guest.stats()->active, 0u);
  ASSERT_TRUE(rig_.host().configure({.sample_pages = 0u}));
  end_period();
  auto s = *guest.stats();
  EXPECT_EQ(s.active, s.memory) << "it counts as wholly active";
  EXPECT_EQ(s.samples, 0u);
  EXPECT_EQ(test::resident_pages(guest.memory().data(), kPages), kPages) << "nothing is watched any more";
  const auto faults = s.sample_faults;
  touch(guest, 1, kPages);
  end_period();
  EXPECT_EQ(guest.stats()->sample_faults, faults);
  ASSERT_TRUE(rig_.host().configure({.sample_pages = 50u, .sample_period = std::chrono::seconds(1)}));
  rig_.tick(std::chrono::seconds(1));
  rig_.tick(std::chrono::seconds(1));
  EXPECT_EQ(guest.stats()->samples, 1u) << "and on again, with another period";
  EXPECT_EQ(test::wrong_in(guest, 1), "");
}

constexpr std::uint64_t kMemory = 44 * MiB;  // of each of the two, in a host of 64

// Two guests that want more than there is, one of them idle after it has filled its memory.
class IdleTax : public test::EachWay {
 protected:
  struct Held {
    double active, idle;
  };
  static double resident(const Guest& guest) {
    return static_cast<double>(test::resident_pages(guest.memory().data(), guest.memory().size() / kPageSize));
  }
  void run(double tax, bool (*settled)(const Held&)) {
    auto o = host_options(directory_.path(), 64 * MiB);
    o.management = Management::at_creation;
    o.idle_tax = tax;
    std::chrono::milliseconds period{500};
    o.sample_period = period;
    auto host = Host::create(o);
    ASSERT_TRUE(host) << host.error().message();
    auto options = guest_options("idle", kMemory);
    options.large_pages = false;
    auto idle = host->create_guest(options);
    options.name = "active";
    auto active = host->create_guest(options);
    ASSERT_TRUE(idle && active);
    test::fill_guest(*idle, 1);
    Held held{};
    {
      Toucher busy(*active, 2, 0, kMemory / kPageSize);
      int in_a_row = 0;
      auto pass = busy.passes();
      auto since = std::chrono::steady_clock::now();
      // However slow the machine is: the busy guest is only active as a whole if a period is longer than a pass.
      const auto follow = [&] {
        if (busy.passes() < pass + 2) return;
        const auto now = std::chrono::steady_clock::now();
        const auto took = std::chrono::ceil<std::chrono::milliseconds>(now - since);
        if (took > period) {
          ASSERT_TRUE(host->configure({.sample_period = took}));
          period = took;
        }
        pass = busy.passes();
        since = now;
      };
      EXPECT_TRUE(test::eventually([&] {
        const auto touches = busy.touches() + 1000;
        if (!test::eventually([&] { return busy.touches() > touches; })) return false;
        follow();
        held = {resident(*active), resident(*idle)};
        const auto a = *active->stats(), i = *idle->stats();
        const bool known = a.samples > 0 && a.active > 2 * i.active && i.active < i.memory / 10;
        in_a_row = known && settled(held) ? in_a_row + 1 : 0;
        return in_a_row == 10;
      }, std::chrono::seconds(240))) << held.active << " and " << held.idle << " pages";
    }
    EXPECT_TRUE(test::eventually([&] { return host->stats()->state == MemoryState::high; }));
    EXPECT_EQ(test::wrong_in(*idle, 1), "");
    EXPECT_EQ(test::wrong_in(*active, 2), "");
  }
  const test::TempDirectory directory_;
};
VMM_EACH_WAY(IdleTax);

TEST_P(IdleTax, WithTheTaxTheActiveOneHasMostOfTheMemory) {
  run(0.75, [](const Held& h) { return h.active > 2.5 * h.idle && h.active < 4.5 * h.idle; });
}

TEST_P(IdleTax, WithoutItSharesAloneCount) {
  run(0, [](const Held& h) { return h.active < 1.2 * h.idle && h.active > 0.85 * h.idle; });
}

// One host throughout, whose time is the test's: however slow the machine is, the active guest is touched wholly in
// each period, and the idle one never, but for being read once where it may have more.
class LiveIdleTax : public test::EachWay {
 protected:
  static constexpr std::uint64_t kEach = 20 * MiB / kPageSize;  // of each of the two, in a host of 32 MiB
  static void adjust(HostOptions& o) {
    o.memory = 32 * MiB;
    o.idle_tax = 0;
    o.sample_period = kPeriod;
  }
  struct Round {
    double ratio;   // of the active guest's pages to the idle one's
    double missed;  // part of the touches that had to wait for the swap file
  };
  // Each page of the active guest once, in an order that differs from round to round, and a period is over.
  Round round() {
    const auto before = active_.stats()->swap_ins;
    auto step = 1 + random_.below(kEach);
    while (std::gcd(step, kEach) != 1) ++step;
    auto page = random_.below(kEach);
    for (std::uint64_t i = 0; i < kEach; ++i, page = (page + step) % kEach)
      static_cast<void>(*static_cast<volatile std::byte*>(page_at(active_, page)));
    const auto missed = static_cast<double>(active_.stats()->swap_ins - before) / static_cast<double>(kEach);
    rig_.tick(kPeriod);
    EXPECT_TRUE(test::eventually([&] { return rig_.host().stats()->state == MemoryState::high; }));
    const auto resident = [](const Guest& g) {
      return static_cast<double>(test::resident_pages(g.memory().data(), kEach));
    };
    return {resident(active_) / resident(idle_), missed};
  }
  // The last of some rounds, in the last three of which the ratio was between `least` and `most`.
  Round settle(double least, double most) {
    Round r{};
    int in_a_row = 0;
    for (int i = 0; i < 20 && in_a_row < 3; ++i) {
      r = round();
      in_a_row = r.ratio > least && r.ratio < most ? in_a_row + 1 : 0;
    }
    EXPECT_EQ(in_a_row, 3) << r.ratio;
    return r;
  }
  Round settle_even() { return settle(0.85, 1.2); }
  Round settle_taxed() { return settle(2.5, 6); }

  HostRig rig_{GetParam(), adjust};
  base::Random random_{test::seed()};
  Guest idle_ = rig_.add("idle", kEach), active_ = rig_.add("active", kEach);
};
VMM_EACH_WAY(LiveIdleTax);

TEST_P(LiveIdleTax, MovesMemoryToTheActiveOneAndBackAsItIsChanged) {
  test::fill_guest(active_, 2);
  test::fill_guest(idle_, 1);
  const auto untaxed = settle_even();
  ASSERT_TRUE(rig_.host().configure({.idle_tax = 0.75}));
  const auto taxed = settle_taxed();
  EXPECT_LT(taxed.missed, untaxed.missed / 2) << "it works faster for it";
  ASSERT_TRUE(rig_.host().configure({.idle_tax = 0}));
  EXPECT_EQ(test::wrong_in(idle_, 1), "");
  const auto again = settle_even();
  EXPECT_GT(again.missed, taxed.missed * 2);
  ASSERT_TRUE(idle_.configure({.idle_tax = 0.75}));
  EXPECT_LT(settle_taxed().missed, again.missed / 2) << "and so for a tax of the guest's own";
  ASSERT_TRUE(rig_.host().configure({.idle_tax = 0.75}));
  ASSERT_TRUE(idle_.configure({.idle_tax = 0}));
  EXPECT_EQ(test::wrong_in(idle_, 1), "");
  EXPECT_GT(settle_even().missed, taxed.missed * 2) << "and of the host's tax a guest is freed by its own";
  EXPECT_EQ(test::wrong_in(idle_, 1), "");
  EXPECT_EQ(test::wrong_in(active_, 2), "");
}

}  // namespace
}  // namespace vmm
