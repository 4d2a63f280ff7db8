// Sharing of pages as a host does it: on request and by itself, by its options, with all else that guests do; asked of
// the kernel beside the statistics.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "topology/topology.h"

namespace vmm::test {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kPages = 1024;
constexpr std::uint64_t kBytes = kPages * kPageSize;
constexpr std::uint64_t kCommon = 7;  // what all of them hold

class PageSharing : public EachWay {
 protected:
  // Looks at nothing by itself: a day for each guest.
  static void on(HostOptions& o) {
    o.share_scan_ghz = 4;
    o.share_scan_time = std::chrono::hours(24);
  }
  // As fast as it can.
  static void at_once(HostOptions& o) {
    o.share_scan_ghz = 1000;
    o.share_scan_time = std::chrono::seconds(1);
    o.share_rate_max = 1'000'000;
  }
  static Guest add(HostRig& rig, const std::string& name, const std::string& salt = "common", bool sharing = true) {
    GuestOptions o;
    o.name = name;
    o.memory = kBytes;
    o.large_pages = false;
    o.share_salt = salt;
    o.page_sharing = sharing;
    o.node_affinity = {rig.host().stats()->nodes.front()};  // guests share within a node
    auto guest = rig.host().create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    if (!guest) return Guest();
    fill_guest(*guest, kCommon);
    return std::move(*guest);
  }
  // Looks until all of those guests is shared: a page that somebody has locked just then is left for another time.
  // Returns what was done together.
  static ShareReport share(HostRig& rig, const std::vector<Guest*>& guests) {
    ShareReport sum;
    EXPECT_TRUE(eventually([&] {
      const auto r = rig.host().share_now();
      EXPECT_TRUE(r) << r.error().message();
      if (!r) return true;
      sum.scanned += r->scanned;
      sum.shared += r->shared;
      sum.saved = r->saved;
      return std::all_of(guests.begin(), guests.end(), [](Guest* g) { return g->stats()->shared == kBytes; });
    }));
    return sum;
  }
  static std::uint64_t anonymous(const Guest& guest) { return smaps_bytes(page_at(guest, 0), kBytes, "Anonymous"); }
  // What is charged is what guests hold, and the frames.
  static void expect_sums(HostRig& rig) {
    const auto s = *rig.host().stats();
    std::uint64_t resident = 0, shared = 0, common = 0;
    for (const auto& guest : s.guests) {
      resident += guest.resident;
      shared += guest.shared;
      common += guest.shared_common;
    }
    EXPECT_EQ(s.shared, shared);
    EXPECT_NEAR(static_cast<double>(common), static_cast<double>(s.shared_common), 3.0 * kPageSize);
    EXPECT_EQ(s.shared_saved, s.shared - s.shared_common);
    EXPECT_EQ(s.consumed, s.overhead + resident + s.share_frames);
  }
};
VMM_EACH_WAY(PageSharing);

TEST_P(PageSharing, GuestsOfOneSaltHaveOneCopy) {
  HostRig rig(GetParam(), on);
  auto a = add(rig, "a"), b = add(rig, "b"), c = add(rig, "c"), other = add(rig, "other", "another"),
       alone = add(rig, "alone", ""), off = add(rig, "off", "common", false);
  const auto before = *rig.host().stats();
  const auto r = share(rig, {&a, &b, &c});
  EXPECT_EQ(r.shared, 3 * kBytes);
  EXPECT_NEAR(static_cast<double>(r.saved), 2.0 * kBytes, 3) << "thirds of a page are rounded";
  EXPECT_GE(r.scanned, 3 * kBytes / 256) << "one page of each run, and those of the first guest";
  for (auto* guest : {&a, &b, &c}) {
    EXPECT_EQ(anonymous(*guest), 0u);
    const auto s = *guest->stats();
    EXPECT_EQ(s.shared, kBytes);
    EXPECT_EQ(s.resident, 0u);
    EXPECT_NEAR(static_cast<double>(s.shared_common), static_cast<double>(kBytes) / 3, kPageSize);
    EXPECT_EQ(s.share_made, kBytes);
  }
  for (auto* guest : {&other, &alone, &off}) {
    EXPECT_EQ(anonymous(*guest), kBytes);
    EXPECT_EQ(guest->stats()->shared, 0u);
  }
  const auto after = *rig.host().stats();
  EXPECT_EQ(before.consumed - after.consumed, 2 * kBytes);
  expect_sums(rig);
  for (auto* guest : {&a, &b, &c, &other, &alone, &off}) EXPECT_EQ(wrong_in(*guest, kCommon), "");
  // A write is the writer's own.
  fill_page(page_at(a, 5), 1, 5, 2);
  EXPECT_EQ(wrong_in(b, kCommon), "");
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(rig.host().share_now());
    return a.stats()->share_broken > 0;
  }));
  EXPECT_EQ(a.stats()->share_broken, kPageSize);
  EXPECT_EQ(a.stats()->resident, kPageSize);
  EXPECT_EQ(anonymous(a), kPageSize);
  expect_sums(rig);
}

// A salt that is given never is the one that a guest has for itself.
TEST_P(PageSharing, Hazard36_NobodyJoinsAGuestThatSharesAlone) {
  HostRig rig(GetParam(), on);
  auto alone = add(rig, "alone", "");
  std::vector<Guest> others;
  for (const char* salt : {"guest 1", "1", "alone", "guest alone", "salt ", " "})
    others.push_back(add(rig, std::string("o") + std::to_string(others.size()), salt));
  ASSERT_TRUE(rig.host().share_now());
  EXPECT_EQ(rig.host().stats()->shared, 0u);
  EXPECT_EQ(anonymous(alone), kBytes);
}

TEST_P(PageSharing, ItGoesOnByItselfAtTheRateAskedFor) {
  {
    HostRig rig(GetParam(), at_once);
    auto a = add(rig, "a"), b = add(rig, "b");
    EXPECT_TRUE(eventually([&] {
      rig.tick(std::chrono::seconds(1));
      return a.stats()->shared == kBytes && b.stats()->shared == kBytes;
    }));
    EXPECT_EQ(anonymous(a) + anonymous(b), 0u);
    // Written pages are found soon, and charged.
    for (std::uint64_t page = 0; page < 100; ++page) fill_page(page_at(a, page), 1, page, 2);
    EXPECT_TRUE(eventually([&] {
      rig.tick(std::chrono::seconds(1));
      return a.stats()->resident >= 100 * kPageSize;
    }));
    // A page may be the guest's own, be taken back and be shared again before the word is written that it was copied
    // for.
    EXPECT_GE(a.stats()->share_broken, 100 * kPageSize);
    for (std::uint64_t page = 0; page < 100; ++page) EXPECT_EQ(wrong_page(page_at(a, page), 1, page, 2), "");
    EXPECT_EQ(wrong_in(b, kCommon), "");
  }
  for (void (*slow)(HostOptions&) : {+[](HostOptions& o) { at_once(o), o.share_scan_time = std::chrono::hours(24); },
                                     +[](HostOptions& o) { at_once(o), o.share_rate_max = 1; },
                                     +[](HostOptions& o) { at_once(o), o.share_scan_ghz = 1e-6; }}) {
    HostRig rig(GetParam(), slow);
    auto a = add(rig, "a"), b = add(rig, "b");
    for (int i = 0; i < 10; ++i) rig.tick(std::chrono::seconds(1));
    EXPECT_LE(a.stats()->share_scanned, 64 * kPageSize);
    EXPECT_EQ(a.stats()->shared, 0u);
  }
}

TEST_P(PageSharing, WithoutARateThereIsNone) {
  HostRig rig(GetParam());
  auto a = add(rig, "a"), b = add(rig, "b");
  for (int i = 0; i < 3; ++i) rig.tick(std::chrono::hours(1));
  EXPECT_EQ(a.stats()->share_scanned, 0u);
  const auto r = rig.host().share_now();
  ASSERT_FALSE(r);
  EXPECT_THAT(r.error().message(), HasSubstr("share_scan_ghz"));
}

TEST_P(PageSharing, NativeGuestsAreManagedForIt) {
  HostRig rig(GetParam(), [](HostOptions& o) {
    on(o);
    o.management = Management::on_demand;
  });
  auto a = add(rig, "a"), b = add(rig, "b");
  ASSERT_FALSE(a.stats()->managed);
  share(rig, {&a, &b});
  EXPECT_TRUE(a.stats()->managed);
  EXPECT_EQ(anonymous(a) + anonymous(b), 0u);
  EXPECT_EQ(rig.host().stats()->shared_saved, kBytes);
  // Not while pages are shared: what is missing then is not zero.
  for (int i = 0; i < 20; ++i) rig.tick(std::chrono::hours(1));
  EXPECT_TRUE(a.stats()->managed);
  for (auto* guest : {&a, &b}) EXPECT_EQ(wrong_in(*guest, kCommon), "");
}

TEST_P(PageSharing, ZerosCostNothing) {
  HostRig rig(GetParam(), on);
  auto a = add(rig, "a", "");
  std::memset(page_at(a, 100), 0, 500 * kPageSize);
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(rig.host().share_now());
    return a.stats()->share_zero >= 500 * kPageSize;
  }));
  EXPECT_EQ(a.stats()->share_zero, 500 * kPageSize);
  EXPECT_EQ(anonymous(a), kBytes - 500 * kPageSize);
  EXPECT_EQ(a.stats()->resident, kBytes - 500 * kPageSize);
  EXPECT_TRUE(is_zero(page_at(a, 300)));
}

// Hazards 5 and 6: discarded, reclaimed, pinned, and when guests end in any order.
TEST_P(PageSharing, Hazard06_AllThatGuestsDoWithSharedPages) {
  HostRig rig(GetParam(), on);
  auto a = add(rig, "a"), b = add(rig, "b");
  share(rig, {&a, &b});
  ASSERT_TRUE(a.discard(10 * kPageSize, 20 * kPageSize));
  for (std::uint64_t page = 10; page < 30; ++page) EXPECT_TRUE(is_zero(page_at(a, page)));
  EXPECT_EQ(wrong_in(b, kCommon), "");
  {
    const auto pin = a.pin(100 * kPageSize, 8 * kPageSize);
    ASSERT_TRUE(pin) << pin.error().message();
    EXPECT_GE(anonymous(a), 8 * kPageSize) << "its own, for a device to write to";
    EXPECT_EQ(a.stats()->resident, 28 * kPageSize) << "and charged";
    ASSERT_TRUE(rig.host().share_now());
    EXPECT_GE(anonymous(a), 8 * kPageSize);
  }
  HostRig::reclaim_all(a);
  EXPECT_GE(a.stats()->shared, kBytes - 28 * kPageSize) << "what others show, too, need not be written";
  for (std::uint64_t page = 30; page < kPages; ++page) {
    const auto w = wrong_page(page_at(a, page), kCommon, page, 1);
    ASSERT_EQ(w, "") << page;
  }
  a = Guest();
  EXPECT_EQ(wrong_in(b, kCommon), "");
  EXPECT_EQ(rig.host().stats()->share_frames, b.stats()->shared);
  // Its frames are its own now; another of that salt finds them.
  auto c = add(rig, "c");
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(rig.host().share_now());
    return rig.host().stats()->shared_saved == kBytes;
  }));
  b = Guest();
  EXPECT_EQ(wrong_in(c, kCommon), "");
  c = Guest();
  EXPECT_EQ(rig.host().stats()->share_frames, 0u);
  EXPECT_EQ(rig.host().stats()->consumed, rig.host().stats()->overhead);
}

// What is saved within a guest, between guests, and by zeros is told apart, and is all that is saved.
TEST_P(PageSharing, WhatIsSavedIsToldApart) {
  HostRig rig(GetParam(), on);
  auto a = add(rig, "a"), b = add(rig, "b");
  constexpr std::uint64_t kZeros = 100;
  // Of each content there are two pages in each guest, but for the first of `a`, which are of zeros.
  for (auto* guest : {&a, &b})
    for (std::uint64_t page = 0; page < kPages; ++page) fill_page(page_at(*guest, page), kCommon, page / 2, 1);
  std::memset(page_at(a, 0), 0, kZeros * kPageSize);
  share(rig, {&a, &b});
  const auto check = [&] {
    const auto s = *rig.host().stats();
    EXPECT_EQ(s.shared_saved, s.shared_zero + s.shared_within + s.shared_between);
    EXPECT_EQ(s.shared_saved, s.shared - s.shared_common);
    EXPECT_NEAR(static_cast<double>(s.shared_common), static_cast<double>(s.share_frames), 2.0 * kPageSize);
    return s;
  };
  auto s = check();
  EXPECT_EQ(s.shared, 2 * kBytes);
  EXPECT_EQ(s.share_frames, kBytes / 2);
  EXPECT_EQ(a.stats()->shared_zero, kZeros * kPageSize);
  EXPECT_EQ(a.stats()->shared_within, (kBytes - kZeros * kPageSize) / 2);
  EXPECT_EQ(b.stats()->shared_within, kBytes / 2);
  EXPECT_NEAR(static_cast<double>(s.shared_between), static_cast<double>(kBytes - kZeros * kPageSize) / 2,
              2.0 * kPageSize);
  EXPECT_GT(s.share_cpu_ns, 0u);
  EXPECT_GT(s.share_saved_per_second, 0.0);
  // A zero that is written to takes memory again, and so do those that are filled along with it.
  for (std::uint64_t page = 0; page < 10; ++page) fill_page(page_at(a, page), 1, page, 2);
  EXPECT_TRUE(eventually([&] {
    const auto now = *a.stats();
    return now.shared_zero <= (kZeros - 10) * kPageSize && now.resident + now.shared_zero == kZeros * kPageSize;
  }));
  ASSERT_TRUE(a.discard(10 * kPageSize, 20 * kPageSize));
  EXPECT_EQ(anonymous(a), 10 * kPageSize);
  ASSERT_TRUE(rig.host().share_now());
  check();
  EXPECT_EQ(a.stats()->share_candidates, 10 * kPageSize);
  EXPECT_EQ(a.stats()->share_waiting, 0u);
}

// What sharing could save is found without sharing anything, as the salts are and were there one.
TEST_P(PageSharing, WhatCouldBeSavedIsEstimated) {
  HostRig rig(GetParam(), on);
  auto a = add(rig, "a"), b = add(rig, "b"), alone = add(rig, "alone", ""), off = add(rig, "off", "common", false);
  std::memset(page_at(alone, 0), 0, 64 * kPageSize);
  const auto estimated = [&] {
    const auto estimate = rig.host().estimate_sharing();
    EXPECT_TRUE(estimate) << estimate.error().message();
    return estimate.value_or(ShareEstimate{});
  };
  ShareEstimate e;
  EXPECT_TRUE(eventually([&] { return (e = estimated()).looked == 3 * kBytes; }));
  EXPECT_EQ(e.zero, 64 * kPageSize);
  EXPECT_EQ(e.saved, kBytes + 64 * kPageSize);
  EXPECT_EQ(e.saved_in_one_group, 2 * kBytes);
  ASSERT_EQ(e.groups.size(), 2u);
  std::sort(e.groups.begin(), e.groups.end(), [](const auto& x, const auto& y) { return x.salt < y.salt; });
  EXPECT_EQ(e.groups[0].salt, "alone");
  EXPECT_EQ(e.groups[0].guests, 1u);
  EXPECT_EQ(e.groups[0].saved, 64 * kPageSize);
  EXPECT_EQ(e.groups[1].salt, "common");
  EXPECT_EQ(e.groups[1].guests, 2u);
  EXPECT_EQ(e.groups[1].looked, 2 * kBytes);
  EXPECT_EQ(e.groups[1].saved, kBytes);
  for (auto* guest : {&a, &b, &alone, &off}) {
    EXPECT_EQ(anonymous(*guest), kBytes) << "nothing was shared";
    EXPECT_EQ(guest->stats()->shared, 0u);
  }
  // It is kept.
  share(rig, {&a, &b});
  EXPECT_EQ(rig.host().stats()->shared_saved, e.saved);
  EXPECT_TRUE(eventually([&] { return (e = estimated()).looked == 3 * kBytes; }));
  EXPECT_EQ(e.saved, kBytes + 64 * kPageSize) << "what is shared already counts, too";
}

TEST_P(PageSharing, RatesAreChangedWhileTheHostRuns) {
  HostRig rig(GetParam(), on);
  auto a = add(rig, "a"), b = add(rig, "b");
  for (auto* guest : {&a, &b}) HostRig::reclaim_all(*guest);
  for (auto* guest : {&a, &b}) EXPECT_EQ(wrong_in(*guest, kCommon), "");
  HostChange change;
  change.share_scan_time = std::chrono::seconds(1);
  change.share_rate_max = 1'000'000;
  change.share_scan_ghz = 1000;
  ASSERT_TRUE(rig.host().configure(change));
  EXPECT_TRUE(eventually([&] { return a.stats()->shared == kBytes && b.stats()->shared == kBytes; }));
  EXPECT_EQ(anonymous(a), 0u);
  change.share_rate_max = 0;
  const auto refused = rig.host().configure(change);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("share_rate_max = 0"));
}

TEST_P(PageSharing, AHostWithoutItCannotBeToldToShare) {
  HostRig rig(GetParam(), [](HostOptions& o) { o.share_scan_ghz = 0; });
  HostChange change;
  change.share_scan_ghz = 4;
  const auto refused = rig.host().configure(change);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code.value(), EINVAL);
  EXPECT_THAT(refused.error().message(), HasSubstr("share_scan_ghz = 4"));
  EXPECT_THAT(refused.error().message(), HasSubstr("create the host with"));
  EXPECT_FALSE(rig.host().estimate_sharing());
}

// ESX Mem.AllocGuestLargePage = 0: no guest gets a huge page, whatever it asks for.
TEST_P(PageSharing, HugePagesAreForbiddenHostWide) {
  for (const bool allowed : {true, false}) {
    HostRig rig(GetParam(), allowed ? [](HostOptions& o) { o.management = Management::automatic; }
                                    : [](HostOptions& o) {
                                        o.management = Management::automatic;
                                        o.alloc_guest_large_page = false;
                                      });
    GuestOptions o;
    o.name = "large";
    o.memory = 4 * kHugePageSize;
    auto guest = rig.host().create_guest(o);
    ASSERT_TRUE(guest) << guest.error().message();
    std::memset(page_at(*guest, 0), 1, o.memory);
    const auto huge = smaps_bytes(page_at(*guest, 0), o.memory, "AnonHugePages");
    if (allowed && huge == 0) GTEST_SKIP() << "the kernel has no huge page to give";
    EXPECT_EQ(huge > 0, allowed);
  }
}

// Memory that sharing saves is there for others: guests that together are larger than it, and nothing is swapped.
TEST_P(PageSharing, WhatIsSavedIsThereForOthers) {
  HostRig rig(GetParam(), [](HostOptions& o) {
    on(o);
    // Each node has buffers of its own.
    o.memory = 20 * MiB + topology::Topology::discover()->nodes().size() * 5 * MiB;
  });
  std::vector<Guest> guests;
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    guests.push_back(add(rig, name));
    ASSERT_TRUE(rig.host().share_now());
    for (int i = 0; i < 3; ++i) rig.tick(std::chrono::seconds(15));
  }
  for (const auto& guest : guests) {
    EXPECT_EQ(guest.stats()->swapped_out, 0u);
    EXPECT_EQ(wrong_in(guest, kCommon), "");
  }
  EXPECT_LE(rig.host().stats()->consumed, rig.host().stats()->memory);
  EXPECT_EQ(rig.host().stats()->state, MemoryState::high);
}

// The host ends while pages of its guests are shared, discarded, written to and looked at.
TEST_P(PageSharing, Hazard33_TheHostEndsInTheMiddleOfIt) {
  for (std::uint64_t round = 0; round < 6; ++round) {
    HostRig rig(GetParam(), at_once);
    auto a = add(rig, "a"), b = add(rig, "b");
    ASSERT_TRUE(rig.host().share_now());
    std::atomic<std::uint64_t> done{0};
    std::thread discards([&] {
      base::Random random(round + 1);
      // Until the guest has ended: then it is an error.
      while (a.discard(random.below(kPages - 8) * kPageSize, 8 * kPageSize)) ++done;
      done += 10;
    });
    EXPECT_TRUE(eventually([&] { return done >= 10; }));
    EXPECT_EQ(wrong_in(b, kCommon), "");
    rig.end();
    discards.join();
  }
}

TEST_P(PageSharing, BadInputIsToldByName) {
  const TempDirectory directory;
  const auto refused = [&](void (*adjust)(HostOptions&), const char* field, const char* remedy) {
    auto o = host_options(directory.path());
    adjust(o);
    const auto host = Host::create(o);
    ASSERT_FALSE(host);
    EXPECT_EQ(host.error().code.value(), EINVAL);
    EXPECT_THAT(host.error().message(), HasSubstr(field));
    EXPECT_THAT(host.error().message(), HasSubstr(remedy));
  };
  refused([](HostOptions& o) { o.share_scan_ghz = -1; }, "share_scan_ghz = -1", "0 to share no pages");
  refused([](HostOptions& o) { o.share_scan_ghz = 1001; }, "share_scan_ghz = 1001", "up to 1000");
  refused([](HostOptions& o) { o.share_rate_max = 0; }, "share_rate_max = 0", "at least 1 page");
  refused([](HostOptions& o) { o.share_scan_time = std::chrono::milliseconds(999); }, "share_scan_time = 999 ms",
          "at least 1000 ms");
  EXPECT_EQ(Host().share_now().error().code, make_error_code(Errc::inert_handle));
}

}  // namespace
}  // namespace vmm::test
