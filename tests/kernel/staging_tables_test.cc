// Page tables of staging that nothing is in are given back to the kernel, and only those: asked of the kernel by VmPTE.
#include "sharing/staging_tables.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "os/file.h"
#include "os/mapping.h"
#include "sharing/deadline.h"
#include "sharing/locked_pages.h"
#include "sharing/share_states.h"
#include "support/sharing_rig.h"

namespace vmm::test {
namespace {

using region::kPagesPerHuge;
using region::PageState;

// Of the process, as the kernel counts, in page tables of 4 KiB.
std::uint64_t tables_of_process() {
  const auto status = os::read_small_file("/proc/self/status").value();
  const std::string field = "VmPTE:";
  return std::strtoull(status.c_str() + status.find(field) + field.size(), nullptr, 10) * KiB / kPageSize;
}

// Whether this kernel lets go of tables at all, of a mapping that has nothing to do with the library.
bool kernel_gives_back() {
  constexpr std::uint64_t kTables = 8;
  auto mapping = os::Mapping::guarded(kTables * kHugePageSize).value();
  for (std::uint64_t at = 0; at < mapping.size(); at += kHugePageSize) mapping.data()[at] = std::byte{1};
  const auto before = tables_of_process();
  os::drop_pages(mapping.data(), mapping.size());
  return tables_of_process() + kTables / 2 <= before;
}

constexpr auto kWhyNot = "this kernel keeps page tables (Linux 6.14 and later give them back)";

class StagingTablesTest : public SharingRig {
 protected:
  static constexpr std::uint64_t kTables = 8, kPages = kTables * kPagesPerHuge;
  static constexpr std::uint64_t kAtOnce = sharing::LockedPages::kMost;

  void SetUp() override {
    SharingRig::SetUp();
    if (IsSkipped()) return;
    guest_ = &add("common", kPages + 1);
    guest_->fill();
    rig_->settle(*guest_);
    for (std::uint64_t first = 0; first < kPages; first += kAtOnce) put_into_staging_and_back(first);
    tables_ = std::make_unique<sharing::StagingTables>(guest_->memory());
    tables_->emptied(0, guest_->memory().pages());
  }
  void put_into_staging_and_back(std::uint64_t first) {
    sharing::LockedPages::Words words;
    sharing::LockedPages pages(guest_->memory(), first, words);
    for (std::uint64_t i = 0; i < kAtOnce; ++i)
      ASSERT_TRUE(pages.lock_next(sharing::may_be_shared)) << first + i;
    pages.isolate();
    ASSERT_EQ(pages.count(), kAtOnce);
  }
  // Returns how many the process has fewer then.
  std::uint64_t give_back() {
    const auto before = tables_of_process();
    tables_->give_back(0, guest_->memory().pages(), sharing::Deadline(std::chrono::hours(1)));
    return before - std::min(before, tables_of_process());
  }

  RigGuest* guest_ = nullptr;
  std::unique_ptr<sharing::StagingTables> tables_;
};
VMM_EACH_WAY(StagingTablesTest);

TEST_P(StagingTablesTest, ThoseOfEmptyStagingGoOnce) {
  const auto given = give_back();
  EXPECT_EQ(guest_->wrong(), "");
  if (!kernel_gives_back()) GTEST_SKIP() << kWhyNot;
  EXPECT_GE(given, kTables);
  EXPECT_EQ(give_back(), 0u);
}

TEST_P(StagingTablesTest, WhatIsInStagingStays) {
  const std::uint64_t staged = 3 * kPagesPerHuge + 17;
  {
    sharing::LockedPages::Words words;
    sharing::LockedPages page(guest_->memory(), staged, words);
    ASSERT_TRUE(page.lock_next(sharing::may_be_shared));
    page.isolate();
    ASSERT_EQ(page.count(), 1u);
    give_back();
    EXPECT_EQ(wrong_page(guest_->memory().staged(staged), guest_->memory().id(), staged, 1), "");
  }
  EXPECT_EQ(guest_->wrong(), "");
  if (!kernel_gives_back()) GTEST_SKIP() << kWhyNot;
  EXPECT_GE(give_back(), 1u);
}

// Isolated, and its word not locked: as while it waits to be written, or for its owner's touch.
TEST_P(StagingTablesTest, WhatIsParkedStays) {
  ASSERT_GT(rig_->park(*guest_), 0u);
  const auto parked = count(*guest_, PageState::isolated);
  ASSERT_GT(parked, 0u);
  give_back();
  EXPECT_EQ(count(*guest_, PageState::isolated), parked);
  EXPECT_EQ(guest_->wrong(), "");
}

// Pages whose bytes are being written to the swap file out of staging, and those that have come back meanwhile.
TEST_P(StagingTablesTest, WhatIsBeingWrittenStays) {
  ASSERT_GT(rig_->park(*guest_), 0u);
  ASSERT_GT(rig_->write(*guest_, false), 0u);
  const auto byte = *static_cast<volatile std::byte*>(guest_->at(5));
  static_cast<void>(byte);
  give_back();
  rig_->finish();
  EXPECT_EQ(guest_->wrong(), "");
}

class TablesOfSharers : public SharingRig {
 protected:
  // How many tables the staging of the guests still had.
  std::uint64_t left(const std::vector<RigGuest*>& guests) {
    const auto before = tables_of_process();
    for (auto* guest : guests) os::drop_pages((*guest)->staged(0), (*guest)->pages() * kPageSize);
    return before - std::min(before, tables_of_process());
  }
};
VMM_EACH_WAY(TablesOfSharers);

// The second guest's pass takes pages of the first, which is looked at no more, for nothing of it has changed.
TEST_P(TablesOfSharers, NoneIsLeftByPasses) {
  if (!kernel_gives_back()) GTEST_SKIP() << kWhyNot;
  constexpr std::uint64_t kMany = 4 * kPagesPerHuge;
  auto &a = add("common", kMany), &b = add("common", kMany), &zeros = add("common", kMany);
  for (auto* guest : {&a, &b}) fill_common(*guest, 0, kMany, 0);
  for (std::uint64_t page = 0; page < kMany; ++page) *zeros.at(page) = std::byte{0};
  pass({&a, &b, &zeros});
  look_at(a);
  EXPECT_EQ(count(a, PageState::shared), kMany);
  EXPECT_EQ(count(b, PageState::shared), kMany);
  EXPECT_EQ(count(zeros, PageState::empty), kMany);
  EXPECT_EQ(left({&a, &b, &zeros}), 0u);
}

}  // namespace
}  // namespace vmm::test
