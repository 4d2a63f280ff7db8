#include "os/pagemap.h"

#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "os/mapping.h"
#include "os/userfaultfd.h"
#include "support/pattern.h"
#include "support/way.h"

namespace vmm::os {
namespace {

Mapping small_pages(std::uint64_t pages) {
  auto m = Mapping::guarded(pages * kPageSize);
  EXPECT_TRUE(m);
  EXPECT_EQ(advise_huge_pages(m->data(), m->size(), false), 0);
  return std::move(*m);
}

class PagemapTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !probe().has("pagemap_scan")) GTEST_SKIP() << "probe(): pagemap_scan is missing";
    auto p = Pagemap::open(GetParam());
    ASSERT_TRUE(p) << p.error().message();
    pagemap_ = std::move(*p);
  }
  std::vector<std::uint8_t> bits(const std::byte* start, std::uint64_t pages) {
    std::vector<std::uint8_t> b(pages, 0xff);
    EXPECT_EQ(pagemap_.bits(start, pages, b.data()), 0);
    return b;
  }
  Pagemap pagemap_;
};
INSTANTIATE_TEST_SUITE_P(, PagemapTest, testing::Values(true, false),
                         [](const auto& way) { return way.param ? "scan" : "file"; });

TEST_P(PagemapTest, TellsWhichPagesAreThere) {
  auto memory = small_pages(700);
  for (std::uint64_t page = 0; page < 700; page += 3) test::fill_page(memory.data() + page * kPageSize, 1, page, 1);
  const auto b = bits(memory.data(), 700);
  for (std::uint64_t page = 0; page < 700; ++page)
    ASSERT_EQ(b[page] & kPresent, page % 3 == 0 ? kPresent : 0) << page;
  EXPECT_EQ(b[1], 0);
  EXPECT_TRUE(b[0] & kWritten);
  EXPECT_FALSE(b[0] & (kSwapped | kFile | kMarker));
}

TEST_P(PagemapTest, ManySeparateRangesInOneCall) {
  // More than the kernel reports at once.
  auto memory = small_pages(4096);
  for (std::uint64_t page = 0; page < 4096; page += 2) memory.data()[page * kPageSize] = std::byte{1};
  const auto b = bits(memory.data(), 4096);
  for (std::uint64_t page = 0; page < 4096; ++page) ASSERT_EQ((b[page] & kPresent) != 0, page % 2 == 0) << page;
}

TEST_P(PagemapTest, DroppedPagesAreGone) {
  auto memory = small_pages(8);
  for (std::uint64_t page = 0; page < 8; ++page) memory.data()[page * kPageSize] = std::byte{1};
  ASSERT_EQ(drop_pages(memory.data() + 2 * kPageSize, 3 * kPageSize), 0);
  const auto b = bits(memory.data(), 8);
  for (std::uint64_t page = 0; page < 8; ++page) EXPECT_EQ((b[page] & kPresent) != 0, page < 2 || page > 4);
}

class WriteTracking : public PagemapTest {
 protected:
  void SetUp() override {
    PagemapTest::SetUp();
    if (IsSkipped()) return;
    if (!probe().has("wp_async")) GTEST_SKIP() << "probe(): wp_async is missing";
    UffdFeatures features;
    features.wp_async = true;
    auto uffd = Userfaultfd::open(features);
    ASSERT_TRUE(uffd) << uffd.error().message();
    uffd_ = std::move(*uffd);
    memory_ = small_pages(64);
    for (std::uint64_t page = 0; page < 64; page += 2) memory_.data()[page * kPageSize] = std::byte{1};
    ASSERT_EQ(uffd_.register_range(memory_.data(), memory_.size(), true), 0);
  }
  std::byte* at(std::uint64_t page) { return memory_.data() + page * kPageSize; }
  Mapping memory_;
  Userfaultfd uffd_;
};
INSTANTIATE_TEST_SUITE_P(, WriteTracking, testing::Values(true, false),
                         [](const auto& way) { return way.param ? "scan" : "file"; });

TEST_P(WriteTracking, ArmedPagesShowTheNextWrite) {
  ASSERT_EQ(uffd_.write_protect(at(0), kPageSize, true), 0);
  ASSERT_EQ(uffd_.write_protect(at(2), kPageSize, true), 0);
  EXPECT_FALSE(bits(at(0), 1)[0] & kWritten);
  *at(0) = std::byte{2};
  EXPECT_TRUE(bits(at(0), 1)[0] & kWritten);
  EXPECT_FALSE(bits(at(2), 1)[0] & kWritten);
}

// Hazard 4: a marker in a hole is no page, and is told from one.
TEST_P(WriteTracking, Hazard04_MarkersAreToldFromPages) {
  ASSERT_EQ(uffd_.write_protect(at(0), 64 * kPageSize, true), 0);
  std::vector<std::uint8_t> b(64);
  ASSERT_EQ(pagemap_.bits_from_pagemap(at(0), 64, b.data()), 0);
  for (std::uint64_t page = 0; page < 64; ++page) EXPECT_EQ(b[page], page % 2 == 0 ? kPresent : kMarker) << page;
  ASSERT_EQ(uffd_.write_protect(at(0), 64 * kPageSize, false), 0);
  ASSERT_EQ(pagemap_.bits_from_pagemap(at(0), 64, b.data()), 0);
  for (std::uint64_t page = 1; page < 64; page += 2) EXPECT_EQ(b[page], 0) << page;
}

TEST_P(WriteTracking, Hazard04_ArmingTouchesNoHoles) {
  std::vector<std::uint8_t> b(64);
  if (!GetParam()) {
    EXPECT_EQ(pagemap_.arm_written(at(0), 64, b.data()), ENOTTY);
    EXPECT_EQ(pagemap_.written_pages(at(0), 64, b.data()), ENOTTY);
    return;
  }
  ASSERT_EQ(pagemap_.arm_written(at(0), 64, b.data()), 0);
  for (std::uint64_t page = 0; page < 64; ++page) EXPECT_EQ(b[page], page % 2 == 0 ? kPresent | kWritten : 0) << page;
  ASSERT_EQ(pagemap_.bits_from_pagemap(at(0), 64, b.data()), 0);
  for (std::uint64_t page = 0; page < 64; ++page) EXPECT_EQ(b[page], page % 2 == 0 ? kPresent : 0) << page;
}

// What was armed is told of again when it was written, and not before.
TEST_P(WriteTracking, WhatIsWrittenSinceItWasArmedIsTold) {
  if (!GetParam()) GTEST_SKIP() << "without PAGEMAP_SCAN nothing can be armed";
  std::vector<std::uint8_t> b(64);
  ASSERT_EQ(pagemap_.arm_written(at(0), 64, b.data()), 0);
  ASSERT_EQ(pagemap_.arm_written(at(0), 64, b.data()), 0);
  for (std::uint64_t page = 0; page < 64; ++page) EXPECT_EQ(b[page], 0) << page;
  *at(6) = std::byte{9};
  ASSERT_EQ(pagemap_.written_pages(at(0), 64, b.data()), 0);
  for (std::uint64_t page = 0; page < 64; page += 2) EXPECT_EQ(b[page], page == 6 ? kWritten : 0) << page;
  ASSERT_EQ(pagemap_.arm_written(at(0), 64, b.data()), 0);
  for (std::uint64_t page = 0; page < 64; ++page) EXPECT_EQ(b[page], page == 6 ? kPresent | kWritten : 0) << page;
}

}  // namespace
}  // namespace vmm::os
