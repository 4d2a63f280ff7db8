// What the example says of its guests is worth something only if it counts pages rightly and takes files as they are.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "page_sharing/distinct_pages.h"
#include "page_sharing/image.h"
#include "page_sharing/sharing.h"
#include "support/temp_directory.h"
#include "vmm/vmm.h"

namespace page_sharing {
namespace {

using vmm::kPageSize;
using Bytes = std::vector<std::byte>;

// A page for each character, "." one of zeros.
Bytes pages(const std::string& drawing) {
  Bytes bytes;
  for (const char page : drawing)
    bytes.resize(bytes.size() + kPageSize, static_cast<std::byte>(page == '.' ? 0 : page));
  return bytes;
}

void write(const std::string& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

TEST(DistinctPages, CountsWhatCanBeSpared) {
  struct Case {
    const char* first;
    const char* second;
    std::uint64_t zero, distinct;
  };
  for (const Case& c : {Case{"", "", 0, 0}, Case{"...", ".", 4, 0}, Case{"abc", "abc", 0, 3}, Case{"abc", "cab", 0, 3},
                        Case{"aa.a", "b", 1, 2}, Case{"abc", "def", 0, 6}}) {
    const auto first = pages(c.first), second = pages(c.second);
    DistinctPages counter;
    counter.add(first);
    counter.add(second);
    EXPECT_EQ(counter.count().all, first.size() + second.size()) << c.first << " " << c.second;
    EXPECT_EQ(counter.count().zero, c.zero * kPageSize) << c.first << " " << c.second;
    EXPECT_EQ(counter.count().distinct, c.distinct * kPageSize) << c.first << " " << c.second;
    EXPECT_EQ(counter.count().spare(), counter.count().all - c.distinct * kPageSize);
  }
}

TEST(DistinctPages, OneByteMakesADifference) {
  auto bytes = pages("aa.");
  bytes[2 * kPageSize - 1] = std::byte{'b'};
  bytes.back() = std::byte{1};
  DistinctPages counter;
  counter.add(bytes);
  EXPECT_EQ(counter.count().distinct, 3 * kPageSize);
}

TEST(ImageFile, GivesItsBytesAndNothingMore) {
  const vmm::test::TempDirectory directory;
  auto bytes = pages("ab");
  bytes.resize(bytes.size() + 100, std::byte{'c'});
  write(directory.file("dump"), bytes);
  const auto image = image_file(directory.file("dump"));
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->name, "dump");
  EXPECT_EQ(image->bytes, bytes.size());
  Bytes memory(3 * kPageSize);
  ASSERT_TRUE(image->load(memory));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), memory.begin()));
  EXPECT_TRUE(std::all_of(memory.begin() + static_cast<std::ptrdiff_t>(bytes.size()), memory.end(),
                          [](std::byte b) { return b == std::byte{0}; }));
}

TEST(ImageFile, RefusesWhatIsNoImage) {
  const vmm::test::TempDirectory directory;
  write(directory.file("empty"), {});
  struct Case {
    std::string path;
    std::errc code;
  };
  for (const Case& c : {Case{directory.file("missing"), std::errc::no_such_file_or_directory},
                        Case{directory.file("empty"), std::errc::invalid_argument},
                        Case{directory.path(), std::errc::invalid_argument}}) {
    const auto image = image_file(c.path);
    ASSERT_FALSE(image) << c.path;
    EXPECT_EQ(image.error().code, c.code) << c.path;
    EXPECT_NE(image.error().operation.find(c.path), std::string::npos) << image.error().message();
    EXPECT_FALSE(image.error().remedy.empty());
  }
}

TEST(ImageFile, SaysThatItHasBecomeShorter) {
  const vmm::test::TempDirectory directory;
  write(directory.file("dump"), pages("abcd"));
  const auto image = image_file(directory.file("dump"));
  ASSERT_TRUE(image);
  std::filesystem::resize_file(directory.file("dump"), kPageSize);
  Bytes memory(4 * kPageSize);
  const auto loaded = image->load(memory);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, std::errc::io_error);
}

TEST(MadeImages, AreAlikeByTheirParts) {
  constexpr auto kBytes = 4 * vmm::MiB;
  const auto images = made_images(2, kBytes);
  if (!images) GTEST_SKIP() << images.error().message();
  std::vector<Bytes> memories(images->size(), Bytes(kBytes, std::byte{1}));
  DistinctPages counter;
  for (std::size_t i = 0; i < memories.size(); ++i) {
    ASSERT_TRUE((*images)[i].load(memories[i]));
    counter.add(memories[i]);
  }
  EXPECT_NE(memories[0], memories[1]);
  // Libraries have pages of zeros and pages that are alike, too.
  EXPECT_GE(counter.count().zero, 2 * kBytes * (kZeroPercent - 1) / 100);
  EXPECT_LE(counter.count().distinct, kBytes * (100 - kZeroPercent + kOwnPercent + 1) / 100);
  EXPECT_GE(counter.count().distinct, 2 * kBytes * (kOwnPercent - 1) / 100);

  Bytes again(kBytes);
  ASSERT_TRUE((*images)[0].load(again));
  EXPECT_EQ(again, memories[0]);
}

TEST(MadeImages, SaysWhatIsMissing) {
  const auto images = made_images(1, std::uint64_t{1} << 50);
  ASSERT_FALSE(images);
  EXPECT_EQ(images.error().code, std::errc::no_such_file_or_directory);
}

TEST(ShareImages, SavesWhatIsAlikeAndKeepsWhatIsHeld) {
  const auto level = vmm::probe().level;
  if (level == vmm::CapabilityLevel::none || level == vmm::CapabilityLevel::user_mode)
    GTEST_SKIP() << "pages cannot be managed: level " << vmm::to_string(level);
  const vmm::test::TempDirectory directory;
  auto bytes = pages("ab.cdefgh...ijklm");
  write(directory.file("one"), bytes);
  bytes.resize(bytes.size() + 5, std::byte{'z'});
  write(directory.file("two"), bytes);
  std::vector<Image> images;
  for (const char* name : {"one", "two"}) {
    auto image = image_file(directory.file(name));
    ASSERT_TRUE(image);
    images.push_back(std::move(*image));
  }
  const auto outcome = share_images({}, images);
  ASSERT_TRUE(outcome) << outcome.error().message();
  EXPECT_EQ(outcome->held.all, (17 + 18) * kPageSize);
  EXPECT_EQ(outcome->held.spare(), (13 + 2 * 4) * kPageSize);
  EXPECT_EQ(outcome->host.shared_zero, 2 * 4 * kPageSize);
  EXPECT_EQ(outcome->saved(), outcome->held.spare());
  ASSERT_EQ(outcome->guests.size(), 2U);
  for (const auto& guest : outcome->guests) EXPECT_TRUE(guest.intact) << guest.stats.name;
}

TEST(ShareImages, SaysThatImagesAreTooLarge) {
  Image image{"huge", std::uint64_t{1} << 45, [](std::span<std::byte>) -> vmm::Result<void> { return {}; }};
  const auto outcome = share_images({}, std::span(&image, 1));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, std::errc::not_enough_memory);
}

}  // namespace
}  // namespace page_sharing
