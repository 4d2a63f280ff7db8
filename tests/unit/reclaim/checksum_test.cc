#include "reclaim/checksum.h"

#include <array>
#include <cstring>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/zero_page.h"
#include "support/seed.h"
#include "vmm/units.h"

namespace vmm::reclaim {
namespace {

using base::is_zero_page;

using Page = std::array<std::byte, kPageSize>;

Page random_page(base::Random& random) {
  Page page;
  for (std::size_t i = 0; i < kPageSize; i += sizeof(std::uint64_t)) {
    const auto word = random.next();
    std::memcpy(page.data() + i, &word, sizeof word);
  }
  return page;
}

class ChecksumTest : public testing::Test {
 protected:
  std::uint64_t sum(const Page& bytes, std::uint64_t page = 7, std::uint16_t generation = 3,
                    std::uint64_t guest = 5) const {
    return page_checksum(secret_, guest, page, generation, bytes.data());
  }

  const std::uint64_t seed_ = test::seed();
  base::Random random_{seed_};
  const std::uint64_t secret_ = random_.next();
  const testing::ScopedTrace trace_{__FILE__, __LINE__, test::seed_note(seed_)};
};

// Hazard 9, bit flips: every bit of several pages and of a page of zeros, then random ones; 10^6 in all.
TEST_F(ChecksumTest, NoFlippedBitOfAMillionPasses) {
  constexpr std::size_t kBits = kPageSize * 8;
  std::uint64_t flips = 0;
  const auto passes = [&](Page& page, std::uint64_t expected, std::size_t bit) {
    const auto mask = std::byte{1} << (bit % 8);
    page[bit / 8] ^= mask;
    const bool undetected = sum(page) == expected;
    page[bit / 8] ^= mask;
    ++flips;
    return undetected;
  };
  std::uint64_t undetected = 0;
  for (int round = 0; round < 4; ++round) {
    Page page = round == 0 ? Page{} : random_page(random_);
    const auto expected = sum(page);
    for (std::size_t bit = 0; bit < kBits; ++bit) undetected += passes(page, expected, bit) ? 1 : 0;
  }
  while (flips < 1'000'000) {
    Page page = random_page(random_);
    const auto expected = sum(page);
    for (int i = 0; i < 1000; ++i) undetected += passes(page, expected, random_.below(kBits)) ? 1 : 0;
  }
  EXPECT_EQ(undetected, 0U);
}

// Hazard 9, torn pages: any of the first sectors new, the rest old.
TEST_F(ChecksumTest, NoTornPagePasses) {
  constexpr std::size_t kSector = 512;
  for (int round = 0; round < 1000; ++round) {
    const Page before = random_page(random_);
    const Page after = random_page(random_);
    for (std::size_t torn = kSector; torn < kPageSize; torn += kSector) {
      Page mixed = before;
      std::memcpy(mixed.data(), after.data(), torn);
      ASSERT_NE(sum(mixed), sum(after));
      ASSERT_NE(sum(mixed), sum(before));
    }
  }
}

// Hazard 9, misdirected slots: the right bytes of another page, guest or generation; and stale pages of zeros.
TEST_F(ChecksumTest, NothingMisdirectedPasses) {
  for (const Page& bytes : {Page{}, random_page(random_)}) {
    std::set<std::uint64_t> sums;
    std::size_t count = 0;
    for (std::uint64_t guest = 0; guest < 4; ++guest) {
      for (std::uint64_t page = 0; page < 2000; ++page) {
        for (const int generation : {0, 1, 2, 0xfffe, 0xffff}) {
          sums.insert(sum(bytes, page, static_cast<std::uint16_t>(generation), guest));
          ++count;
        }
      }
    }
    EXPECT_EQ(sums.size(), count);
  }
}

TEST_F(ChecksumTest, DependsOnTheSecretAndOnNothingElse) {
  const Page page = random_page(random_);
  const Page copy = page;
  EXPECT_EQ(sum(page), sum(copy));
  EXPECT_NE(page_checksum(secret_, 1, 2, 3, page.data()), page_checksum(secret_ + 1, 1, 2, 3, page.data()));
}

TEST(IsZeroPageTest, OneSetBitAnywhereIsSeen) {
  alignas(8) Page page{};
  EXPECT_TRUE(is_zero_page(page.data()));
  for (std::size_t bit = 0; bit < kPageSize * 8; ++bit) {
    page[bit / 8] = std::byte{1} << (bit % 8);
    ASSERT_FALSE(is_zero_page(page.data())) << bit;
    page[bit / 8] = std::byte{0};
  }
  page.fill(std::byte{0xff});
  EXPECT_FALSE(is_zero_page(page.data()));
}

// What lies before and after the page does not matter.
TEST(IsZeroPageTest, LooksAtThePageOnly) {
  std::vector<std::byte> memory(3 * kPageSize, std::byte{1});
  std::memset(memory.data() + kPageSize, 0, kPageSize);
  EXPECT_TRUE(is_zero_page(memory.data() + kPageSize));
}

}  // namespace
}  // namespace vmm::reclaim
