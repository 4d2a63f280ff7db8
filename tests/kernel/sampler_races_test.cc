// Guests that write, read, discard and pin while their pages are taken, watched, written and given back.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "reclaim/discard.h"
#include "reclaim/drop_leftovers.h"
#include "reclaim/sampler.h"
#include "support/eventually.h"
#include "support/kernel_view.h"
#include "support/sampling.h"
#include "support/seed.h"

namespace vmm {
namespace {

using reclaim::Sampler;
using test::NodeRig;

struct Case {
  test::Way way;
  bool large_pages;
  bool pressure;  // pages are parked and written too
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.way.name; }

class SamplerRaces : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (const auto why = test::unable(GetParam().way); !why.empty()) GTEST_SKIP() << why;
  }
};
INSTANTIATE_TEST_SUITE_P(, SamplerRaces,
                         testing::Values(Case{test::kMove, false, false}, Case{test::kMove, false, true},
                                         Case{test::kMove, true, false}, Case{test::kMove, true, true},
                                         Case{test::kWriteProtect, false, false},
                                         Case{test::kWriteProtect, false, true}),
                         [](const auto& tested) {
                           const Case& c = tested.param;
                           return std::string(c.way.name) + (c.large_pages ? "_large" : "_small") +
                                  (c.pressure ? "_under_pressure" : "");
                         });

constexpr std::uint64_t kPages = 2048, kThreads = 3;

// The pages that one thread of the application owns: what it wrote last is what it finds.
class Owner {
 public:
  Owner(test::RigGuest& guest, std::uint64_t index, std::uint64_t seed)
      : guest_(guest), index_(index), random_(seed + index), versions_(kPages, 0) {}

  // One page is written, looked at, discarded or pinned. What is wrong; empty: nothing.
  std::string step(std::uint64_t round) {
    const auto page = random_.below(kPages / kThreads) * kThreads + index_;
    auto& version = versions_[page];
    switch (random_.below(8)) {
      case 0:
        if (!reclaim::discard(guest_.memory(), guest_.pins(), page, 1)) return "discard failed";
        version = 0;
        return {};
      case 1:
        if (!guest_.pins().pin(page, 1, kPages)) return "pin failed";
        guest_.fill(page, page + 1, version = round);
        guest_.pins().unpin(page, 1);
        return {};
      case 2:
      case 3:
      case 4: guest_.fill(page, page + 1, version = round); return {};
      default: return look(page);
    }
  }
  std::string look(std::uint64_t page) {
    const auto version = versions_[page];
    if (version != 0) return guest_.wrong(page, page + 1, version);
    return test::is_zero(guest_.at(page)) ? "" : "page " + std::to_string(page) + " is not zero";
  }
  std::string look_at_all() {
    std::string wrong;
    for (auto page = index_; page < kPages && wrong.empty(); page += kThreads) wrong = look(page);
    return wrong;
  }

 private:
  test::RigGuest& guest_;
  const std::uint64_t index_;
  base::Random random_;
  std::vector<std::uint64_t> versions_;
};

TEST_P(SamplerRaces, NothingIsLostAndNothingStaysBehind) {
  const auto seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  test::RigOptions options;
  options.zero_pool = GetParam().large_pages;
  if (GetParam().large_pages) options.roomy_free_pages = 0;
  NodeRig rig(GetParam().way, options);
  test::RigGuestOptions guest_options;
  guest_options.pages = kPages;
  guest_options.large_pages = GetParam().large_pages;
  auto& guest = rig.add(guest_options);
  for (int i = 0; GetParam().large_pages && i < 2; ++i) ASSERT_TRUE(rig.zero_pool()->refill());

  std::vector<Owner> owners;
  for (std::uint64_t t = 0; t < kThreads; ++t) owners.emplace_back(guest, t, seed);
  std::vector<std::string> wrong(kThreads);
  std::atomic<std::uint64_t> steps{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> application;
  for (std::uint64_t t = 0; t < kThreads; ++t)
    application.emplace_back([&, t] {
      for (std::uint64_t round = 1; !over && wrong[t].empty(); ++round, ++steps) wrong[t] = owners[t].step(round);
    });
  EXPECT_TRUE(test::eventually([&] { return steps > kPages; }));

  Sampler sampler(guest.memory());
  base::Random random(seed);
  for (int period = 0; period < 300; ++period) {
    const auto chosen = sampler.begin(100, rig.now(), random);
    EXPECT_LE(chosen, 100u);
    const auto until = steps + random.below(200);
    std::uint64_t before = 0;
    EXPECT_TRUE(test::eventually([&] {
      reclaim::drop_leftovers(guest.memory());
      const auto touched = sampler.touched();
      EXPECT_GE(touched, before);
      before = touched;
      return steps >= until || over;
    }));
    if (GetParam().pressure) {
      guest.evictor().find_stranded(rig.now());
      guest.evictor().park(random.below(512), ~std::uint64_t{0}, rig.now());
      if (period % 2 == 0) sampler.release_parked(guest.evictor(), rig.now(), random.below(kPages));
      rig.write(guest, period % 3 == 0);
    }
    const auto sample = sampler.end();
    EXPECT_GE(sample.touched, before);
    EXPECT_LE(sample.touched, sample.pages);
    EXPECT_EQ(sample.pages, chosen);
    if (HasFailure()) break;
  }
  over = true;
  for (auto& t : application) t.join();
  rig.finish();
  rig.settle(guest);
  for (std::uint64_t t = 0; t < kThreads; ++t) EXPECT_EQ(wrong[t], "") << t;
  EXPECT_TRUE(test::watched_pages(guest).empty());
  // What the evictor has parked is still there, and nothing else; then all of the guest is in place.
  for (std::uint64_t t = 0; t < kThreads; ++t) EXPECT_EQ(owners[t].look_at_all(), "") << t;
  rig.settle(guest);
  EXPECT_EQ(guest->counters.staging.load(), test::resident_pages(guest->staged(0), kPages));
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(guest->counters.resident.load(), test::resident_pages(guest.at(0), kPages));
  const auto pool = rig.zero_pool() != nullptr ? rig.zero_pool()->ready() * kHugePageSize / kPageSize : 0;
  EXPECT_EQ(rig.credit().charged(), guest->counters.resident.load() + pool);
  if (!GetParam().pressure) {
    EXPECT_GT(guest->counters.sample_faults.load(), 1000u);
  }
}

}  // namespace
}  // namespace vmm
