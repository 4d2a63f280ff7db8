#include "region/isolator.h"

#include <sys/mman.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "region/guest_memory.h"
#include "support/kernel_view.h"
#include "support/node_rig.h"

namespace vmm {
namespace {

using region::TakenSet;
using test::NodeRig;
using test::resident_pages;

// The back ends by themselves: nothing touches the guest while pages are out, and words are the caller's.
class IsolatorTest : public test::EachWay {
 protected:
  void SetUp() override {
    test::EachWay::SetUp();
    if (IsSkipped()) return;
    rig_ = std::make_unique<NodeRig>(GetParam());
    test::RigGuestOptions options;
    options.pages = 64;
    guest_ = &rig_->add(options);
    guest_->fill();
    rig_->settle(*guest_);
    for (std::uint64_t page = 0; page < 64; ++page) words_.push_back(guest().table.lock(page));
  }
  void TearDown() override {
    for (std::uint64_t page = 0; page < words_.size(); ++page) guest().table.unlock(page, words_[page]);
  }
  region::GuestMemory& guest() { return guest_->memory(); }
  region::Isolator& isolator() { return guest().isolator(); }
  std::string wrong_staged(std::uint64_t page) { return test::wrong_page(guest().staged(page), guest().id(), page, 1); }

  std::unique_ptr<NodeRig> rig_;
  test::RigGuest* guest_ = nullptr;
  std::vector<region::PageWord> words_;
};
VMM_EACH_WAY(IsolatorTest);

TEST_P(IsolatorTest, TakeEmptiesThePlaceAndKeepsTheBytesInStaging) {
  TakenSet taken;
  ASSERT_EQ(isolator().take(guest(), 8, 16, taken), 0);
  EXPECT_EQ(taken.count(), 16u);
  EXPECT_EQ(resident_pages(guest().at(8), 16), 0u);
  EXPECT_EQ(resident_pages(guest().at(0), 64), 48u);
  EXPECT_EQ(resident_pages(guest().staged(8), 16), 16u);
  for (std::uint64_t page = 8; page < 24; ++page) EXPECT_EQ(wrong_staged(page), "");
  int error = -1;
  EXPECT_EQ(isolator().give(guest(), 8, 16, error), 16u);
  EXPECT_EQ(error, 0);
  EXPECT_EQ(resident_pages(guest().at(0), 64), 64u);
  EXPECT_EQ(resident_pages(guest().staged(0), 64), 0u);
  EXPECT_EQ(guest_->wrong(), "");
}

TEST_P(IsolatorTest, TakeLeavesHolesAlone) {
  ASSERT_EQ(::madvise(guest().at(10), 4 * kPageSize, MADV_DONTNEED), 0);
  TakenSet taken;
  ASSERT_EQ(isolator().take(guest(), 8, 8, taken), 0);
  EXPECT_EQ(taken.to_string().substr(region::kMostTaken - 8), "11000011");
  int error = 0;
  EXPECT_EQ(isolator().give(guest(), 8, 2, error), 2u);
  EXPECT_EQ(isolator().give(guest(), 14, 2, error), 2u);
  EXPECT_EQ(guest_->wrong(8, 10, 1), "");
  EXPECT_EQ(guest_->wrong(14, 16, 1), "");
}

TEST_P(IsolatorTest, TakeAndGiveKeepTheNodeOfThePage) {
  const int node = test::node_of_page(guest().at(0));
  ASSERT_GE(node, 0);
  TakenSet taken;
  ASSERT_EQ(isolator().take(guest(), 0, 64, taken), 0);
  EXPECT_EQ(test::node_of_page(guest().at(0)), -ENOENT);
  EXPECT_EQ(test::node_of_page(guest().staged(0)), node);
  int error = 0;
  EXPECT_EQ(isolator().give(guest(), 0, 64, error), 64u);
  EXPECT_EQ(test::node_of_page(guest().at(63)), node);
}

TEST_P(IsolatorTest, GiveStopsAtWhatIsAlreadyThere) {
  TakenSet taken;
  ASSERT_EQ(isolator().take(guest(), 0, 8, taken), 0);
  // Somebody fills page 4 from outside.
  const auto filled = guest().uffd().zero(guest().at(4), kPageSize);
  ASSERT_EQ(filled.error, 0);
  int error = 0;
  EXPECT_EQ(isolator().give(guest(), 0, 8, error), 4u);
  EXPECT_EQ(error, EEXIST);
  EXPECT_EQ(guest_->wrong(0, 4, 1), "");
  for (std::uint64_t page = 4; page < 8; ++page) EXPECT_EQ(wrong_staged(page), "") << "still in staging";
  ASSERT_EQ(::madvise(guest().at(4), kPageSize, MADV_DONTNEED), 0);
  EXPECT_EQ(isolator().give(guest(), 4, 4, error), 4u);
  EXPECT_EQ(guest_->wrong(), "");
}

TEST_P(IsolatorTest, CopyBackLeavesTheStagedPage) {
  TakenSet taken;
  ASSERT_EQ(isolator().take(guest(), 5, 1, taken), 0);
  EXPECT_EQ(isolator().copy_back(guest(), 5), 0);
  EXPECT_EQ(guest_->wrong(5, 6, 1), "");
  EXPECT_EQ(wrong_staged(5), "");
  EXPECT_EQ(isolator().copy_back(guest(), 5), EEXIST);
}

TEST_P(IsolatorTest, HugePageLeavesAndReturnsWhole) {
  test::RigGuestOptions options;
  options.pages = 512;
  options.large_pages = true;
  options.manage = false;
  auto& huge = rig_->add(options);
  huge.fill();
  {
    base::MutexLock lock(huge->control);
    ASSERT_TRUE(huge->manage());
  }
  const auto bytes = [&](const std::byte* start) { return test::smaps_bytes(start, 512 * kPageSize, "AnonHugePages"); };
  const bool was_huge = bytes(huge.at(0)) == kHugePageSize;
  if (!was_huge && !probe().has("transparent_huge_pages")) GTEST_SKIP() << "probe(): no transparent huge pages";
  std::vector<region::PageWord> words;
  for (std::uint64_t page = 0; page < 512; ++page) words.push_back(huge->table.lock(page));
  TakenSet taken;
  EXPECT_EQ(huge->isolator().take(huge.memory(), 0, 512, taken), 0);
  EXPECT_EQ(taken.count(), 512u);
  if (rig_->moves() && was_huge) {
    EXPECT_EQ(bytes(huge->staged(0)), kHugePageSize);
  }
  int error = 0;
  EXPECT_EQ(huge->isolator().give(huge.memory(), 0, 512, error), 512u);
  if (rig_->moves() && was_huge) {
    EXPECT_EQ(bytes(huge.at(0)), kHugePageSize);
  }
  for (std::uint64_t page = 0; page < 512; ++page) huge->table.unlock(page, words[page]);
  EXPECT_EQ(huge.wrong(), "");
}

}  // namespace
}  // namespace vmm
