// Equal pages are found, compared and shared, and come apart again: asked of the kernel, and with threads that write,
// discard and reclaim meanwhile.
#include "sharing/sharer.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "reclaim/balloon_pages.h"
#include "reclaim/discard.h"
#include "reclaim/drop_leftovers.h"
#include "sharing/guest_frames.h"
#include "support/call_hook.h"
#include "support/eventually.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"
#include "support/sharing_rig.h"

namespace vmm::test {
namespace {

using region::PageState;
using sharing::FrameStore;
using sharing::FrameStores;
using sharing::GuestFrames;
using sharing::Sharer;
using sharing::SharerOptions;
using sharing::ShownFrames;

class Sharing : public SharingRig {};
VMM_EACH_WAY(Sharing);

TEST_P(Sharing, EqualGuestsAreOneCopy) {
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) fill_common(*guest, 0, kPages, 0);
  pass({&a, &b});
  for (auto* guest : {&a, &b}) {
    EXPECT_EQ(count(*guest, PageState::shared), kPages);
    EXPECT_EQ(anonymous(*guest), 0u);
    EXPECT_EQ(resident_pages((*guest)->staged(0), kPages), 0u);
    EXPECT_EQ(mappings_in(guest->at(0), kPages * kPageSize), 1u) << "one run";
    EXPECT_EQ(wrong_common(*guest, 0, kPages, 0), "");
  }
  EXPECT_EQ(frames(), kPages);
  expect_sums({&a, &b});
  EXPECT_EQ(a->counters.share.shared, kPages);
  EXPECT_EQ(b->counters.share.shared, kPages);
  EXPECT_EQ(rig_->credit().charged(), kPages);
}

TEST_P(Sharing, WithinOneGuestAtOtherPlaces) {
  auto& guest = add();
  fill_common(guest, 0, 100, 0);
  guest.fill(100, 200, 1);
  fill_common(guest, 207, 100, 0);
  guest.fill(307, kPages, 1);
  guest.fill(200, 207, 1);
  pass({&guest});
  EXPECT_EQ(count(guest, PageState::shared), 200u);
  EXPECT_EQ(frames(), 100u);
  EXPECT_EQ(wrong_common(guest, 0, 100, 0), "");
  EXPECT_EQ(wrong_common(guest, 207, 100, 0), "");
  EXPECT_EQ(guest.wrong(100, 200, 1), "");
  EXPECT_EQ(guest.wrong(307, kPages, 1), "");
  expect_sums({&guest});
}

// A run that was met in its middle first is followed both ways; a third finds the frames.
TEST_P(Sharing, ARunIsFollowedBothWaysAndAThirdGuestJoins) {
  auto &a = add(), &b = add(), &c = add();
  for (auto* guest : {&a, &b, &c}) guest->fill();
  fill_common(a, 10, 50, 0);
  pass({&a});
  // Of b only a page in the middle is equal at first.
  fill_common(b, 125, 1, 25);
  pass({&b});
  EXPECT_EQ(frames(), 1u);
  fill_common(b, 100, 25, 0);
  fill_common(b, 126, 24, 26);
  pass({&b});
  EXPECT_EQ(frames(), 50u);
  EXPECT_EQ(count(a, PageState::shared), 50u);
  EXPECT_EQ(count(b, PageState::shared), 50u);
  fill_common(c, 300, 50, 0);
  pass({&c});
  EXPECT_EQ(count(c, PageState::shared), 50u);
  EXPECT_EQ(frames(), 50u);
  EXPECT_EQ(wrong_common(a, 10, 50, 0), "");
  EXPECT_EQ(wrong_common(b, 100, 50, 0), "");
  EXPECT_EQ(wrong_common(c, 300, 50, 0), "");
  EXPECT_EQ(c.wrong(0, 300, 1), "");
  EXPECT_EQ(c.wrong(350, kPages, 1), "");
  expect_sums({&a, &b, &c});
}

TEST_P(Sharing, ZerosAreDropped) {
  auto& guest = add();
  guest.fill();
  std::memset(guest.at(64), 0, 200 * kPageSize);
  pass({&guest});
  EXPECT_EQ(count(guest, PageState::empty), 200u);
  EXPECT_EQ(anonymous(guest), kPages - 200);
  EXPECT_EQ(guest->counters.share.zero, 200u);
  EXPECT_EQ(frames(), 0u);
  expect_sums({&guest});
  for (std::uint64_t page = 64; page < 264; ++page) EXPECT_TRUE(is_zero(guest.at(page)));
  EXPECT_EQ(guest.wrong(0, 64, 1), "");
}

// Hazard 36: guests of other salts share nothing, whatever they hold, and whatever the table leads to by chance.
TEST_P(Sharing, Hazard36_OnlyWithinASalt) {
  make_sharer({.key_mask = 0xf});
  auto &a = add("one"), &b = add("two"), &c = add("one");
  for (auto* guest : {&a, &b, &c}) fill_common(*guest, 0, 64, 0);
  for (int round = 0; round < 4; ++round) pass({&a, &b, &c});
  EXPECT_EQ(count(b, PageState::shared), 0u);
  EXPECT_EQ(wrong_common(a, 0, 64, 0), "");
  // Frames of salt "one" end, and their numbers are used again for "two".
  sharer_->remove(a.memory());
  sharer_->remove(c.memory());
  rig_->remove(a);
  rig_->remove(c);
  EXPECT_EQ(frames(), 0u);
  auto &d = add("two"), &e = add("one");
  fill_common(d, 0, 64, 0);
  fill_common(e, 0, 64, 0);
  for (int round = 0; round < 4; ++round) pass({&b, &d, &e});
  EXPECT_EQ(count(e, PageState::shared), 0u);
  for (auto* guest : {&b, &d, &e}) EXPECT_EQ(wrong_common(*guest, 0, 64, 0), "");
}

// Hazard 8: hashes that are equal by chance lead to nothing but a comparison.
TEST_P(Sharing, Hazard08_EqualHashesAreNotEqualPages) {
  make_sharer({.key_mask = 3});
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) guest->fill();
  for (int round = 0; round < 3; ++round) pass({&a, &b});
  EXPECT_EQ(frames(), 0u);
  EXPECT_GT(a->counters.share.changing, 0u);
  EXPECT_EQ(a.wrong(), "");
  EXPECT_EQ(b.wrong(), "");
  expect_sums({&a, &b});
}

TEST_P(Sharing, WhatIsWrittenIsTheWritersOwnAndCanBeSharedAgain) {
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) fill_common(*guest, 0, kPages, 0);
  pass({&a, &b});
  for (std::uint64_t page = 100; page < 110; ++page) fill_page(a.at(page), 1, page, 9);
  EXPECT_EQ(anonymous(a), 10u);
  pass({&a, &b});
  EXPECT_EQ(count(a, PageState::shared), kPages - 10);
  EXPECT_EQ(count(a, PageState::resident), 10u);
  EXPECT_EQ(a->counters.share.broken, 10u);
  EXPECT_EQ(count(b, PageState::shared), kPages - 10) << "nobody else has them";
  EXPECT_EQ(frames(), kPages - 10);
  expect_sums({&a, &b});
  EXPECT_EQ(a.wrong(100, 110, 9), "");
  EXPECT_EQ(wrong_common(b, 0, kPages, 0), "");
  // They are pages like others: swapped, and brought back.
  rig_->evict(a);
  EXPECT_EQ(count(a, PageState::swapped), 10u);
  EXPECT_EQ(a.wrong(100, 110, 9), "");
  for (std::uint64_t page = 100; page < 110; ++page) fill_page(b.at(page), 2, page, 9);
  pass({&a, &b});
  // Equal again.
  for (auto* guest : {&a, &b}) fill_common(*guest, 100, 10, 100);
  pass({&a, &b});
  EXPECT_EQ(count(a, PageState::shared), kPages);
  EXPECT_EQ(frames(), kPages);
  for (auto* guest : {&a, &b}) EXPECT_EQ(wrong_common(*guest, 0, kPages, 0), "");
  expect_sums({&a, &b});
}

// Hazard 5: a discard of a page that was shared, or broken, brings no old bytes back.
TEST_P(Sharing, Hazard05_WhatIsDiscardedOrGivenUpReadsAsZero) {
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) fill_common(*guest, 0, kPages, 0);
  pass({&a, &b});
  fill_page(a.at(50), 1, 50, 9);
  ASSERT_TRUE(reclaim::discard(a.memory(), a.pins(), 40, 20));
  for (std::uint64_t page = 40; page < 60; ++page) EXPECT_TRUE(is_zero(a.at(page))) << page;
  EXPECT_EQ(reclaim::give(a.memory(), 200, 64, 64).accepted.count(), 64u);
  EXPECT_EQ(count(a, PageState::ballooned), 64u);
  EXPECT_EQ(frames(), kPages) << "the other shows them still";
  ASSERT_TRUE(reclaim::discard(b.memory(), b.pins(), 200, 64));
  EXPECT_EQ(frames(), kPages - 64);
  for (std::uint64_t page = 200; page < 264; ++page) EXPECT_TRUE(is_zero(a.at(page))) << page;
  EXPECT_EQ(wrong_common(a, 0, 40, 0), "");
  EXPECT_EQ(wrong_common(a, 264, kPages - 264, 264), "");
  EXPECT_EQ(wrong_common(b, 0, 200, 0), "");
  rig_->settle(a);
  rig_->settle(b);
  expect_sums({&a, &b});
}

// Hazard 6: a frame is free only when no mapping of it is left.
TEST_P(Sharing, Hazard06_FramesEndWithTheLastWhoShowsThem) {
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) fill_common(*guest, 0, kPages, 0);
  pass({&a, &b});
  sharer_->remove(a.memory());
  rig_->remove(a);
  EXPECT_EQ(frames(), kPages);
  auto& c = add();
  c.fill();
  auto& d = add();
  d.fill(2);
  pass({&c, &d});
  EXPECT_EQ(wrong_common(b, 0, kPages, 0), "");
  sharer_->remove(b.memory());
  rig_->remove(b);
  EXPECT_EQ(frames(), 0u);
}

// What is written is charged at once, and becomes a page like others as time permits: discarded, given up, pinned or
// hidden meanwhile it is charged once.
TEST_P(Sharing, BrokenPagesAreChargedWhereTheyAre) {
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) fill_common(*guest, 0, kPages, 0);
  pass({&a, &b});
  sharer_.reset();
  {
    SharerOptions options;
    options.most_time = std::chrono::nanoseconds(-1);
    auto sharer = Sharer::create(*secret_, stores_, *store_, options);
    ASSERT_TRUE(sharer);
    sharer_ = std::move(*sharer);
    for (auto* guest : {&a, &b}) sharer_->add(guest->memory(), "common");
  }
  for (std::uint64_t page = 0; page < 100; ++page) fill_page(a.at(page), 1, page, 9);
  EXPECT_TRUE(sharer_->find_broken(a.memory(), kPages));
  EXPECT_EQ(a->counters.resident, 100u);
  EXPECT_EQ(a.state(50), PageState::shared);
  EXPECT_TRUE(sharer_->find_broken(a.memory(), kPages));
  EXPECT_EQ(a->counters.share.broken, 100u);
  expect_sums({&a, &b});
  ASSERT_TRUE(reclaim::discard(a.memory(), a.pins(), 0, 10));
  EXPECT_EQ(reclaim::give(a.memory(), 10, 10, 10).accepted.count(), 10u);
  EXPECT_EQ(a->counters.resident, 80u);
  expect_sums({&a, &b});
  ASSERT_TRUE(a.pins().pin(20, 10, kPages));
  EXPECT_EQ(a->counters.resident, 80u);
  EXPECT_EQ(sharer_->give_up(a.memory(), 30), 30u);
  EXPECT_EQ(a->counters.resident, 80u) << "first those that are its own";
  expect_sums({&a, &b});
  EXPECT_EQ(a.wrong(20, 100, 9), "");
  EXPECT_EQ(wrong_common(a, 100, kPages - 100, 100), "");
  EXPECT_EQ(wrong_common(b, 0, kPages, 0), "");
  a.pins().unpin(20, 10);
}

TEST_P(Sharing, PinnedPagesAreTheGuestsOwn) {
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) fill_common(*guest, 0, kPages, 0);
  ASSERT_TRUE(a.pins().pin(10, 5, kPages));
  pass({&a, &b});
  for (std::uint64_t page = 10; page < 15; ++page) EXPECT_EQ(a.state(page), PageState::resident);
  EXPECT_EQ(count(a, PageState::shared), kPages - 5);
  EXPECT_EQ(a->counters.share.pinned, 5u);
  // Pinned when they are shared: a device may write there, so that frames go first, and it is charged what comes.
  ASSERT_TRUE(a.pins().pin(100, 80, kPages));
  for (std::uint64_t page = 100; page < 180; ++page) EXPECT_EQ(a.state(page), PageState::resident);
  EXPECT_EQ(anonymous(a), 85u);
  EXPECT_EQ(a->counters.resident, 85u);
  expect_sums({&a, &b});
  pass({&a, &b});
  EXPECT_EQ(count(a, PageState::shared), kPages - 85);
  a.pins().unpin(10, 5);
  a.pins().unpin(100, 80);
  pass({&a, &b, &a});
  EXPECT_EQ(count(a, PageState::shared), kPages);
  EXPECT_EQ(wrong_common(a, 0, kPages, 0), "");
  expect_sums({&a, &b});
}

// Frames that one guest only shows are its own again, and can be swapped.
TEST_P(Sharing, WhatNobodyElseHasCanBeSwapped) {
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) fill_common(*guest, 0, kPages, 0);
  pass({&a, &b});
  sharer_->remove(b.memory());
  rig_->remove(b);
  EXPECT_TRUE(sharer_->find_broken(a.memory(), 2 * kPages));
  EXPECT_EQ(count(a, PageState::resident), kPages);
  EXPECT_EQ(frames(), 0u);
  EXPECT_EQ(a->counters.share.broken, 0u);
  rig_->evict(a);
  EXPECT_EQ(count(a, PageState::swapped), kPages);
  EXPECT_EQ(wrong_common(a, 0, kPages, 0), "");
  // Where memory is short, what others show too.
  auto& c = add();
  fill_common(c, 0, kPages, 0);
  pass({&a, &c});
  ASSERT_EQ(count(c, PageState::shared), kPages);
  EXPECT_EQ(sharer_->give_up(c.memory(), 100), 100u);
  EXPECT_EQ(count(c, PageState::resident), 100u);
  expect_sums({&a, &c});
  EXPECT_EQ(wrong_common(c, 0, kPages, 0), "");
}

// Parts of huge pages stay together while memory is plentiful, whoever looks: the other, or one that follows a run.
TEST_P(Sharing, HugePagesAreBrokenOnlyWhenTheyMayBe) {
  if (!rig_->moves()) GTEST_SKIP() << "without PAGEMAP_SCAN the kernel does not tell huge pages";
  auto& small = add();
  RigGuestOptions o;
  o.pages = 2 * kPages;
  o.large_pages = true;
  auto& large = rig_->add(o);
  large->frames = std::make_unique<GuestFrames>(large.memory(), stores_, *shown_, mappings_);
  sharer_->add(large.memory(), "common");
  std::vector<std::uint8_t> bits(kPages);
  const auto is_huge = [&] {
    EXPECT_EQ(rig_->pagemap().bits(large.at(0), kPages, bits.data()), 0);
    return std::all_of(bits.begin(), bits.end(), [](auto b) { return (b & os::kHuge) != 0; });
  };
  static_cast<void>(os::collapse_huge_page(large.at(0)));
  fill_common(large, 0, kPages, 0);
  rig_->settle(large);
  static_cast<void>(os::collapse_huge_page(large.at(0)));
  if (!is_huge()) GTEST_SKIP() << "the kernel has no huge page to give";
  fill_common(small, 0, kPages, 0);
  pass({&large, &small, &large, &small});
  EXPECT_TRUE(is_huge());
  EXPECT_EQ(frames(), 0u);
  EXPECT_GT(large->counters.share.huge, 0u);
  for (auto* guest : {&large, &small})
    while (!sharer_->step(guest->memory(), kPages, true)) {
    }
  EXPECT_EQ(frames(), kPages);
  EXPECT_EQ(wrong_common(large, 0, kPages, 0), "");
  EXPECT_EQ(wrong_common(small, 0, kPages, 0), "");
}

// What was shared once and is no more leaves its place in the table.
TEST_P(Sharing, TheTableForgetsFramesThatHaveEnded) {
  make_sharer({.table_entries = 64});
  auto &a = add("common", kPages), &b = add("common", kPages);
  for (std::uint64_t version = 1; version < 12; ++version) {
    for (auto* guest : {&a, &b}) fill_common(*guest, 0, 32, 0, version);
    pass({&a, &b});
  }
  pass({&a});
  EXPECT_LE(sharer_->table().counts().shared, 32u);
  EXPECT_EQ(count(a, PageState::shared), 32u);
}

// Hazard 19: single pages while there are many mappings left, longer runs still, then none; and what is written then is
// found although a split would cost two.
TEST_P(Sharing, Hazard19_MappingsAreKeptForOthers) {
  auto &a = add("common", 4 * kPages), &b = add("common", 4 * kPages);
  // Of every other page both hold the same: no run has two.
  for (auto* guest : {&a, &b})
    for (std::uint64_t page = 0; page < 4 * kPages; ++page)
      fill_page(guest->at(page), page % 2 == 0 ? kCommon : (*guest)->id() + 100, page, 1);
  const auto before = mappings_in(a.at(0), 4 * kBytes) + mappings_in(b.at(0), 4 * kBytes);
  pass({&a, &b});
  const auto shared = count(a, PageState::shared);
  EXPECT_GT(shared, 100u);
  EXPECT_LT(shared, 2 * kPages);
  EXPECT_GT(a->counters.share.no_mapping + b->counters.share.no_mapping, 0u);
  EXPECT_LE(mappings_in(a.at(0), 4 * kBytes) + mappings_in(b.at(0), 4 * kBytes), before + mappings_.most());
  // Runs of eight and more are worth it.
  for (auto* guest : {&a, &b}) fill_common(*guest, 3 * kPages, kPages, 3 * kPages);
  pass({&a, &b});
  EXPECT_EQ(count(a, PageState::shared), shared + kPages);
  // Nothing is left: a page in the midst of a run brings all of it back.
  mappings_.add(mappings_.most());
  fill_page(a.at(3 * kPages + 300), 1, 3 * kPages + 300, 9);
  const auto split = mappings_in(a.at(0), 4 * kBytes);
  pass({&a});
  EXPECT_EQ(a.state(3 * kPages + 300), PageState::resident);
  EXPECT_LE(mappings_in(a.at(0), 4 * kBytes), split);
  mappings_.remove(mappings_.most());
  EXPECT_EQ(a.wrong(3 * kPages + 300, 3 * kPages + 301, 9), "");
  EXPECT_EQ(wrong_common(a, 3 * kPages, 300, 3 * kPages), "");
  EXPECT_EQ(wrong_common(b, 3 * kPages, kPages, 3 * kPages), "");
  expect_sums({&a, &b});
  sharer_->remove(a.memory());
  rig_->remove(a);
  sharer_->remove(b.memory());
  rig_->remove(b);
  EXPECT_EQ(mappings_.used(), 0u);
}

// Counted as runs come, and once more at the end of a look: never fewer than the kernel has.
TEST_P(Sharing, MappingsAreCountedAsTheKernelHasThem) {
  auto &a = add(), &b = add();
  for (std::uint64_t page = 0; page < kPages; ++page) {
    const bool common = page < 64 || page % 3 != 0;  // pages that follow each other, and such that do not
    const auto place = page * 37 % kPages;
    fill_page(a.at(place), common ? kCommon : a->id() + 100, page, 1);
    fill_page(b.at(page), common ? kCommon : b->id() + 100, page, 1);
  }
  const auto more = [&] { return mappings_in(a.at(0), kBytes) + mappings_in(b.at(0), kBytes) - 2; };
  ASSERT_EQ(more(), 0u);
  pass({&a, &b});
  EXPECT_GT(count(b, PageState::shared), 200u);
  EXPECT_GE(mappings_.used(), more());
  for (auto* guest : {&a, &b}) sharer_->tell_sharing(guest->memory());
  EXPECT_EQ(mappings_.used(), more());
}

// One by one, in another order: the frames follow the pages of the one that is looked at, so that it needs one mapping.
TEST_P(Sharing, FramesFollowTheGuestThatIsLookedAt) {
  auto &a = add(), &b = add();
  for (std::uint64_t page = 0; page < kPages; ++page) {
    fill_page(a.at(page), kCommon, page * 37 % kPages, 1);
    fill_page(b.at(page), kCommon, page, 1);
  }
  pass({&a, &b});
  EXPECT_EQ(count(a, PageState::shared), count(b, PageState::shared));
  EXPECT_GT(count(a, PageState::shared), mappings_.most() / 2 / 2) << "some have neighbours that are shared, too";
  EXPECT_EQ(anonymous(a), kPages - count(a, PageState::shared));
  EXPECT_LT(mappings_in(b.at(0), kBytes), 50u) << "those of the other: some hundreds";
  EXPECT_GT(mappings_in(a.at(0), kBytes), 200u);
  for (std::uint64_t page = 0; page < kPages; ++page) {
    EXPECT_EQ(wrong_page(a.at(page), kCommon, page * 37 % kPages, 1), "");
    EXPECT_EQ(wrong_page(b.at(page), kCommon, page, 1), "");
  }
  expect_sums({&a, &b});
}

// Three pages in the midst of a run are equal to others of their guest, and show frames before the run is found. While
// mappings are scarce the run gets frames of its own, and is one mapping in both guests; when there are plenty again
// each of those pages shows the one frame that all have.
TEST_P(Sharing, ALongRunHasFramesOfItsOwnWhileMappingsAreScarce) {
  constexpr std::uint64_t kRun = 64;
  constexpr std::array<std::uint64_t, 3> kSingles{10, 20, 30};
  auto &a = add(), &b = add();
  a.fill();
  b.fill();
  fill_common(a, 0, kRun, 0);
  for (const auto page : kSingles) {
    fill_common(a, 100 + 2 * page, 1, page);
    fill_common(a, 101 + 3 * page, 1, page);
  }
  pass({&a});
  ASSERT_EQ(count(a, PageState::shared), 9u);
  ASSERT_EQ(store_->in_use(), 3u);
  const auto others = mappings_.most() / 2;
  mappings_.add(others);
  fill_common(b, 0, kRun, 0);
  pass({&b});
  EXPECT_EQ(count(b, PageState::shared), kRun);
  EXPECT_EQ(store_->in_use(), kRun + 3) << "three doubles";
  EXPECT_EQ(mappings_in(b.at(0), kRun * kPageSize), 1u);
  EXPECT_EQ(mappings_in(a.at(0), kRun * kPageSize), 1u);
  expect_sums({&a, &b});
  pass({&a, &b});
  EXPECT_EQ(store_->in_use(), kRun + 3) << "they stay";
  EXPECT_EQ(mappings_in(b.at(0), kRun * kPageSize), 1u);

  mappings_.remove(others);
  pass({&a, &b});
  pass({&a, &b});
  EXPECT_EQ(store_->in_use(), kRun) << "each page once";
  EXPECT_EQ(count(a, PageState::shared), kRun + 6);
  EXPECT_EQ(count(b, PageState::shared), kRun);
  EXPECT_EQ(anonymous(a), kPages - kRun - 6);
  for (auto* guest : {&a, &b}) EXPECT_EQ(wrong_common(*guest, 0, kRun, 0), "");
  for (const auto page : kSingles) {
    EXPECT_EQ(wrong_common(a, 100 + 2 * page, 1, page), "");
    EXPECT_EQ(wrong_common(a, 101 + 3 * page, 1, page), "");
  }
  expect_sums({&a, &b});
  for (auto* guest : {&a, &b}) sharer_->tell_sharing(guest->memory());
  EXPECT_EQ(mappings_.used(), mappings_in(a.at(0), kBytes) + mappings_in(b.at(0), kBytes) - 2);
}

// What was not written since is not read again, where the kernel tells.
TEST_P(Sharing, WhatIsUnchangedIsNotLookedAtAgain) {
  auto& guest = add();
  guest.fill();
  pass({&guest});
  EXPECT_EQ(guest->counters.share.looked, kPages);
  pass({&guest});
  const auto again = rig_->moves() ? 0 : kPages;
  EXPECT_EQ(guest->counters.share.looked, kPages + again);
  for (const std::uint64_t page : {3, 4, 300}) fill_page(guest.at(page), 1, page, 2);
  pass({&guest});
  EXPECT_EQ(guest->counters.share.looked, kPages + again + (rig_->moves() ? 3 : kPages));
  // Another that holds the same finds it all the same.
  auto& b = add();
  for (std::uint64_t page = 0; page < kPages; ++page) std::memcpy(b.at(page), guest.at(page), kPageSize);
  pass({&b});
  EXPECT_EQ(count(guest, PageState::shared), kPages);
}

// The note of a write tells also whether a slot of the swap file still holds what the page does: looking must not take
// it away.
TEST_P(Sharing, Hazard05_LookingDoesNotHideAWriteFromTheSwap) {
  auto& guest = add();
  guest.fill();
  rig_->settle(guest);
  rig_->evict(guest);
  ASSERT_EQ(count(guest, PageState::swapped), kPages);
  EXPECT_EQ(guest.wrong(), "");  // all are read in again, and keep their slots
  for (std::uint64_t page = 0; page < kPages; page += 2) fill_page(guest.at(page), guest->id(), page, 2);
  for (int round = 0; round < 3; ++round) pass({&guest});
  for (std::uint64_t page = 1; page < kPages; page += 2) fill_page(guest.at(page), guest->id(), page, 2);
  pass({&guest});
  rig_->evict(guest);
  EXPECT_EQ(count(guest, PageState::swapped), kPages);
  EXPECT_EQ(guest.wrong(0, kPages, 2), "");
}

// A page is found by what was noted of it before it was shared. When it is written, or its guest ends, others show its
// frame still: who comes then finds them.
TEST_P(Sharing, FramesAreFoundWhenWhoHadThemFirstIsGone) {
  auto &a = add(), &b = add(), &c = add();
  for (auto* guest : {&a, &b, &c}) fill_common(*guest, 0, 64, 0);
  pass({&a, &b, &c});
  ASSERT_EQ(frames(), 64u);
  for (std::uint64_t page = 0; page < 64; ++page) fill_page(a.at(page), 1, page, 9);
  pass({&a});
  auto& d = add();
  fill_common(d, 100, 64, 0);
  pass({&d});
  EXPECT_EQ(count(d, PageState::shared), 64u);
  EXPECT_EQ(frames(), 64u);
  for (auto* guest : {&a, &b}) {
    sharer_->remove(guest->memory());
    rig_->remove(*guest);
  }
  pass({&c, &d});
  auto& e = add();
  fill_common(e, 200, 64, 0);
  pass({&e});
  EXPECT_EQ(count(e, PageState::shared), 64u);
  EXPECT_EQ(frames(), 64u);
  EXPECT_EQ(wrong_common(e, 200, 64, 0), "");
  expect_sums({&c, &d, &e});
}

// Pages that mappings were not spent on are looked at again when there are some.
TEST_P(Sharing, Hazard19_WhatWasRefusedIsSharedWhenThereAreMappings) {
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b})
    for (std::uint64_t page = 0; page < kPages; ++page)
      fill_page(guest->at(page), page % 8 == 0 ? kCommon : (*guest)->id() + 100, page, 1);
  mappings_.add(mappings_.most() / 2);
  pass({&a, &b});
  EXPECT_EQ(count(a, PageState::shared), 0u);
  EXPECT_EQ(b->counters.share.no_mapping, kPages / 8);
  if (rig_->moves()) {
    const auto looked = b->counters.share.looked.load();
    pass({&b});
    EXPECT_EQ(b->counters.share.looked, looked);
  }
  mappings_.remove(mappings_.most() / 2);
  pass({&b});
  EXPECT_EQ(count(a, PageState::shared), kPages / 8);
  EXPECT_EQ(count(b, PageState::shared), kPages / 8);
  expect_sums({&a, &b});
}

// Hazard 28: without mappings to be had nothing is shared and nothing lost.
TEST_P(Sharing, Hazard28_WithoutMappingsNothingIsShared) {
  auto &a = add(), &b = add();
  for (auto* guest : {&a, &b}) fill_common(*guest, 0, kPages, 0);
  {
    CallHook hook;
    hook.fail(os::Call::mremap, ENOMEM);
    pass({&a, &b});
  }
  EXPECT_EQ(count(a, PageState::shared) + count(b, PageState::shared), 0u);
  EXPECT_EQ(frames(), 0u);
  EXPECT_GT(b->counters.share.no_mapping, 0u);
  expect_sums({&a, &b});
  for (auto* guest : {&a, &b}) EXPECT_EQ(wrong_common(*guest, 0, kPages, 0), "");
  pass({&a, &b});
  EXPECT_EQ(frames(), kPages);
}

// Hazards 2, 5, 6, 7: threads add to words of all pages, and discard ranges of their own, while pages are shared, found
// broken, swapped and brought back. Each word is in the end what was added to it.
TEST_P(Sharing, Hazard07_NothingIsLostWhileAllHappensAtOnce) {
  constexpr std::uint64_t kSmall = 128;
  std::array<RigGuest*, 2> guests{&add("common", kSmall), &add("common", kSmall)};
  for (auto* guest : guests)
    for (std::uint64_t page = 0; page < kSmall; ++page) {
      std::memset(guest->at(page), static_cast<int>(1 + page % 3), kPageSize);
      std::memset(guest->at(page), 0, 64);
    }
  for (auto* guest : guests) rig_->settle(*guest);
  const auto word = [](RigGuest& guest, std::uint64_t page, std::size_t thread) {
    return std::atomic_ref<std::uint64_t>(reinterpret_cast<std::uint64_t*>(guest.at(page))[thread]);
  };
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> wrong{0};
  std::array<std::atomic<std::uint64_t>, 2> turns{};
  std::array<std::array<std::uint64_t, kSmall>, 2> added{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 2; ++t)
    threads.emplace_back([&, t] {
      base::Random random(t + 1);
      // The last eighth is what this guest's thread discards, and nobody else writes to.
      constexpr auto kOwn = kSmall / 8 * 7;
      std::array<std::uint64_t, kSmall> of_own{};
      while (!over) {
        auto& guest = *guests[t];
        const auto page = random.below(kSmall);
        if (page < kOwn) {
          // Up and down again, so that pages are equal at times.
          const bool up = word(guest, page, 0).load() == 0;
          word(guest, page, 0).fetch_add(up ? 1 : ~std::uint64_t{0});
          added[t][page] = up ? 1 : 0;
        } else if (random.below(4) == 0) {
          if (!reclaim::discard(guest.memory(), guest.pins(), page, 1)) ++wrong;
          of_own[page] = 0;
        } else {
          if (word(guest, page, 0).load() != of_own[page]) ++wrong;
          word(guest, page, 0).store(of_own[page] = random.below(2));
        }
        ++turns[t];
      }
      for (std::uint64_t page = kOwn; page < kSmall; ++page) added[t][page] = of_own[page];
    });
  for (int round = 0; round < 60; ++round) {
    // Scarce in two of four rounds: long runs get frames of their own then, which are given up again.
    if (round % 4 == 0) mappings_.add(mappings_.most() / 2);
    if (round % 4 == 2) mappings_.remove(mappings_.most() / 2);
    for (auto* guest : guests) {
      while (!sharer_->step(guest->memory(), 100)) {
      }
      reclaim::drop_leftovers(guest->memory());
      if (round % 3 != 0) continue;
      guest->evictor().find_stranded(rig_->now());
      guest->evictor().park(16, ~std::uint64_t{0}, rig_->now());
      rig_->write(*guest);
    }
    const auto a = turns[0].load(), b = turns[1].load();
    EXPECT_TRUE(eventually([&] { return turns[0] > a + 20 && turns[1] > b + 20; }));
  }
  over = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(guests[0]->memory().counters.share.shared + guests[1]->memory().counters.share.shared, 0u);
  EXPECT_GT(guests[0]->memory().counters.share.broken + guests[1]->memory().counters.share.broken, 0u);
  for (std::size_t t = 0; t < 2; ++t)
    for (std::uint64_t page = 0; page < kSmall; ++page)
      ASSERT_EQ(word(*guests[t], page, 0).load(), added[t][page]) << t << " " << page;
}

}  // namespace
}  // namespace vmm::test
