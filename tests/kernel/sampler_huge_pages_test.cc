// Huge pages are sampled as wholes and stay huge.
#include <memory>

#include <gtest/gtest.h>

#include "reclaim/discard.h"
#include "reclaim/sampler.h"
#include "support/guarded_access.h"
#include "support/kernel_view.h"
#include "support/sampling.h"

namespace vmm {
namespace {

using reclaim::Sampler;
using region::PageState;
using region::Watch;
using test::NodeRig;
using test::try_read;
using test::watched_pages;

constexpr std::uint64_t kChunk = kHugePageSize / kPageSize;
constexpr std::uint64_t kChunks = 8, kPages = kChunks * kChunk;

class SamplerHugePages : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = test::unable(test::kMove); !why.empty()) GTEST_SKIP() << why;
    test::RigOptions options;
    options.roomy_free_pages = 0;
    options.zero_pool = true;
    rig_ = std::make_unique<NodeRig>(test::kMove, options);
    test::RigGuestOptions large;
    large.pages = kPages;
    large.large_pages = true;
    large.manage = false;
    guest_ = &rig_->add(large);
    guest_->fill();
    if (huge_bytes(guest_->at(0)) != kPages * kPageSize) GTEST_SKIP() << "the kernel had no huge pages at hand";
    base::MutexLock lock((*guest_)->control);
    ASSERT_TRUE((*guest_)->manage());
  }
  static std::uint64_t huge_bytes(const std::byte* start) {
    return test::smaps_bytes(start, kPages * kPageSize, "AnonHugePages");
  }
  std::uint64_t watched_in(std::uint64_t chunk) {
    std::uint64_t count = 0;
    for (auto page = chunk * kChunk; page < (chunk + 1) * kChunk; ++page)
      count += (*guest_)->table.load(page).watch() == Watch::whole ? 1 : 0;
    return count;
  }
  // 100 pages of 8 huge pages: each is in the sample.
  void begin_all(Sampler& sampler) {
    rig_->settle(*guest_);
    ASSERT_EQ(sampler.begin(100, rig_->now(), random_), 100u);
    for (std::uint64_t chunk = 0; chunk < kChunks; ++chunk) ASSERT_EQ(watched_in(chunk), kChunk) << chunk;
  }

  std::unique_ptr<NodeRig> rig_;
  test::RigGuest* guest_ = nullptr;
  base::Random random_{3};
};

TEST_F(SamplerHugePages, LeaveAndReturnWholeAndOneTouchIsATouchOfAll) {
  auto& guest = *guest_;
  Sampler sampler(guest.memory());
  for (int period = 0; period < 20; ++period) {
    begin_all(sampler);
    EXPECT_EQ(huge_bytes(guest->staged(0)), kPages * kPageSize);
    EXPECT_EQ(sampler.parked(), kPages);
    const auto faults = guest->counters.sample_faults.load();
    auto order = test::random_pages(kChunks, kChunks, random_);
    order.resize(static_cast<std::size_t>(period) % (kChunks + 1));
    std::uint64_t before = 0;
    for (const auto chunk : order) {
      // Anywhere in it, and then anywhere else in it, which is no fault.
      try_read(guest.at(chunk * kChunk + random_.below(kChunk)));
      const auto now = sampler.touched();
      EXPECT_GT(now, before);
      before = now;
      for (int i = 0; i < 10; ++i) try_read(guest.at(chunk * kChunk + random_.below(kChunk)));
      EXPECT_EQ(sampler.touched(), before);
      EXPECT_EQ(watched_in(chunk), 0u);
    }
    EXPECT_EQ(guest->counters.sample_faults.load() - faults, order.size());
    const auto sample = sampler.end();
    EXPECT_EQ(sample.pages, 100u);
    EXPECT_EQ(sample.touched, before);
    EXPECT_EQ(sample.touched == 100, order.size() == kChunks);
    EXPECT_TRUE(watched_pages(guest).empty());
    EXPECT_EQ(huge_bytes(guest.at(0)), kPages * kPageSize);
  }
  EXPECT_EQ(guest.wrong(), "");
  EXPECT_EQ(guest->counters.staging.load(), 0u);
  EXPECT_EQ(rig_->credit().charged(), kPages);
}

// Evicted, discarded or pinned in part: whatever of it is touched still counts, and its neighbours do not.
TEST_F(SamplerHugePages, AreWatchedAsOneWhateverBecomesOfTheirParts) {
  auto& guest = *guest_;
  Sampler sampler(guest.memory());
  begin_all(sampler);
  // Chunks 0 and 1 go to the swap file; a part of chunk 2 is discarded.
  EXPECT_EQ(sampler.release_parked(guest.evictor(), rig_->now(), 2 * kChunk + 5), 2 * kChunk);
  rig_->write(guest);
  EXPECT_EQ(guest->counters.swapped.load(), 2 * kChunk);
  ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 2 * kChunk + 100, 50));
  EXPECT_EQ(sampler.touched(), 0u);
  // In order up to the border of chunk 1: what is read ahead ends there.
  for (std::uint64_t page = 0; page < kChunk; ++page) try_read(guest.at(page));
  rig_->settle(guest);
  const auto first = sampler.touched();
  EXPECT_GT(first, 0u);
  EXPECT_EQ(watched_in(0), 0u);
  EXPECT_EQ(watched_in(1), kChunk);
  try_read(guest.at(kChunk + 77));
  EXPECT_EQ(watched_in(1), 0u);
  const auto second = sampler.touched();
  EXPECT_GT(second, first);
  // A discarded page of chunk 2.
  EXPECT_EQ(try_read(guest.at(2 * kChunk + 120)).value, 0u);
  EXPECT_EQ(watched_in(2), 0u);
  const auto third = sampler.touched();
  EXPECT_GT(third, second);
  ASSERT_TRUE(guest.pins().pin(3 * kChunk + 9, 1, 100));
  EXPECT_GT(sampler.touched(), third);
  EXPECT_EQ(watched_in(4), kChunk);
  sampler.end();
  EXPECT_TRUE(watched_pages(guest).empty());
  EXPECT_EQ(guest.wrong(0, 2 * kChunk + 100, 1) + guest.wrong(2 * kChunk + 150, kPages, 1), "");
  rig_->settle(guest);
  guest.evictor().find_stranded(rig_->now());
  EXPECT_EQ(guest->counters.resident.load(),
            test::resident_pages(guest.at(0), kPages) + test::resident_pages(guest->staged(0), kPages));
}

TEST_F(SamplerHugePages, WithAPinnedPageInItCountsAsTouched) {
  auto& guest = *guest_;
  ASSERT_TRUE(guest.pins().pin(5 * kChunk + 300, 1, 100));
  Sampler sampler(guest.memory());
  rig_->settle(guest);
  ASSERT_EQ(sampler.begin(100, rig_->now(), random_), 100u);
  EXPECT_EQ(watched_in(5), 0u);
  EXPECT_EQ(watched_in(4), kChunk);
  const auto touched = sampler.touched();
  EXPECT_GT(touched, 0u);
  try_read(guest.at(5 * kChunk));
  EXPECT_EQ(sampler.end().touched, touched);
  EXPECT_EQ(huge_bytes(guest.at(0)), kPages * kPageSize) << "and is not split";
}

// What the evictor had parked as a huge page is watched as one, where it is.
TEST_F(SamplerHugePages, ParkedByTheEvictorAreWatchedAsOne) {
  auto& guest = *guest_;
  ASSERT_EQ(rig_->park(guest), kPages);
  Sampler sampler(guest.memory());
  begin_all(sampler);
  EXPECT_EQ(sampler.parked(), 0u) << "not parked by the sampler";
  try_read(guest.at(3 * kChunk + 3));
  EXPECT_GT(sampler.touched(), 0u);
  EXPECT_EQ(huge_bytes(guest.at(0)), kHugePageSize);
  sampler.end();
  EXPECT_EQ(guest.wrong(), "");
}

// Untouched memory that a touch fills with a huge page: all of that is touched. What is filled ahead is not.
TEST_F(SamplerHugePages, FilledForATouchCountAndFilledAheadDoNot) {
  auto& guest = *guest_;
  ASSERT_TRUE(reclaim::discard(guest.memory(), guest.pins(), 0, kPages));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(rig_->zero_pool()->refill());
  Sampler sampler(guest.memory());
  ASSERT_EQ(sampler.begin(100, rig_->now(), random_), 100u);
  const auto watched = watched_pages(guest);
  const auto below = [&](std::uint64_t end) {
    std::uint64_t count = 0;
    for (const auto page : watched) count += page < end ? 1 : 0;
    return count;
  };
  guest.fill(0, 1, 1);
  rig_->settle(guest);
  EXPECT_EQ(huge_bytes(guest.at(0)), kHugePageSize);
  EXPECT_EQ(sampler.touched(), below(kChunk));
  // The next one makes it a stream, for which more would be filled.
  guest.fill(kChunk, kChunk + 1, 1);
  rig_->settle(guest);
  EXPECT_EQ(sampler.touched(), below(2 * kChunk));
  EXPECT_EQ(huge_bytes(guest.at(0)), 2 * kHugePageSize);
  sampler.end();
  EXPECT_TRUE(watched_pages(guest).empty());
}

}  // namespace
}  // namespace vmm
