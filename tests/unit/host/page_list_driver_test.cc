#include "vmm/page_list_driver.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "vmm/units.h"

namespace vmm {
namespace {

using Ranges = std::vector<BalloonRange>;

constexpr std::uint64_t at(std::uint64_t page) { return page * kPageSize; }
BalloonRange range(std::uint64_t page, std::uint64_t pages) { return {at(page), at(pages)}; }

TEST(PageListDriver, GivesTheHighestFreePagesAndNoMoreThanAskedFor) {
  PageListDriver list;
  ASSERT_TRUE(list.add_free(at(0), at(10)));
  ASSERT_TRUE(list.add_free(at(20), at(4)));
  EXPECT_EQ(list.free_bytes(), at(14));
  EXPECT_EQ(list.inflate(at(6)), (Ranges{range(20, 4), range(8, 2)}));
  EXPECT_EQ(list.free_bytes(), at(8));
  list.deflate({});
  EXPECT_EQ(list.given_bytes(), at(6));
  EXPECT_EQ(list.inflate(at(100)), Ranges{range(0, 8)});
  list.deflate({});
  EXPECT_EQ(list.inflate(at(100)), Ranges{}) << "it has no more";
}

// The host is still dropping them: what is written there now would be lost.
TEST(PageListDriver, PagesOnTheirWayToTheHostAreNotHandedOut) {
  PageListDriver list;
  ASSERT_TRUE(list.add_free(at(0), at(8)));
  EXPECT_EQ(list.inflate(at(8)), Ranges{range(0, 8)});
  EXPECT_FALSE(list.take(at(3), at(1)));
  EXPECT_FALSE(list.allocate(at(1)));
  EXPECT_EQ(list.given_bytes(), 0u);
  list.deflate({});
  EXPECT_TRUE(list.take(at(3), at(1)));
  EXPECT_EQ(list.allocate(at(1)), at(0));
  EXPECT_EQ(list.given_bytes(), at(6));
}

TEST(PageListDriver, WhatIsRefusedOrComesBackIsFree) {
  PageListDriver list;
  ASSERT_TRUE(list.add_free(at(0), at(8)));
  list.inflate(at(8));
  list.deflate({range(2, 3)});
  EXPECT_EQ(list.free_bytes(), at(3));
  EXPECT_EQ(list.given_bytes(), at(5));
  list.deflate({range(0, 2), range(6, 2), range(50, 100)});
  EXPECT_EQ(list.free_bytes(), at(7));
  EXPECT_EQ(list.given_bytes(), at(1)) << "page 5";
}

TEST(PageListDriver, ATakenPageIsNotFreeWhenTheHostGivesItBack) {
  PageListDriver list;
  ASSERT_TRUE(list.add_free(at(0), at(8)));
  list.inflate(at(8));
  list.deflate({});
  ASSERT_TRUE(list.take(at(2), at(2)));
  list.deflate({range(0, 8)});
  EXPECT_EQ(list.free_bytes(), at(6));
  EXPECT_FALSE(list.take(at(1), at(2)));
  EXPECT_EQ(list.inflate(at(8)), (Ranges{range(4, 4), range(0, 2)}));
}

TEST(PageListDriver, AllocatesTheLowestFreePagesAndGivenOnesLast) {
  PageListDriver list;
  ASSERT_TRUE(list.add_free(at(0), at(16)));
  list.inflate(at(8));  // 8-15
  list.deflate({});
  EXPECT_EQ(list.allocate(at(3)), at(0));
  EXPECT_EQ(list.allocate(at(4)), at(3));
  EXPECT_EQ(list.allocate(at(2)), at(7)) << "one free page and one that is given";
  EXPECT_EQ(list.allocate(at(7)), at(9));
  EXPECT_FALSE(list.allocate(at(1)));
  EXPECT_EQ(list.free_bytes() + list.given_bytes(), 0u);
}

TEST(PageListDriver, RefusesWhatAreNoPages) {
  PageListDriver list;
  for (const auto& [offset, bytes] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {1, kPageSize}, {0, 100}, {0, 0}, {at(1), ~std::uint64_t{0} - 4095}}) {
    const auto r = list.add_free(offset, bytes);
    ASSERT_FALSE(r) << offset << ", " << bytes;
    EXPECT_EQ(r.error().code, std::error_code(EINVAL, std::generic_category()));
    EXPECT_FALSE(list.take(offset, bytes));
  }
  EXPECT_FALSE(list.allocate(0));
  EXPECT_FALSE(list.take(at(0), at(1)));
  EXPECT_EQ(list.free_bytes(), 0u);
}

TEST(PageListDriver, AsksTheApplicationForWhatIsMissing) {
  PageListDriver* self = nullptr;
  std::uint64_t missing = 0;
  PageListDriver list([&](std::uint64_t bytes) {
    missing = bytes;
    EXPECT_TRUE(self->add_free(at(100), at(5)));
  });
  self = &list;
  ASSERT_TRUE(list.add_free(at(0), at(2)));
  EXPECT_EQ(list.inflate(at(2)), Ranges{range(0, 2)});
  EXPECT_EQ(missing, 0u);
  list.deflate({});
  EXPECT_EQ(list.inflate(at(4)), Ranges{range(101, 4)});
  EXPECT_EQ(missing, at(4));
}

// Against a table with one entry a page.
TEST(PageListDriver, AgreesWithATable) {
  enum State { used, free, leaving, given };
  constexpr std::uint64_t kPages = 64;
  std::vector<State> table(kPages, used);
  PageListDriver list;
  base::Random random(7);
  const auto count = [&](State s) {
    std::uint64_t n = 0;
    for (const auto t : table) n += t == s ? 1 : 0;
    return n;
  };
  for (int step = 0; step < 20000; ++step) {
    const auto first = random.below(kPages), pages = 1 + random.below(std::min<std::uint64_t>(8, kPages - first));
    const auto usable = [&](std::uint64_t page) { return table[page] == free || table[page] == given; };
    switch (random.below(5)) {
      case 0:
        ASSERT_TRUE(list.add_free(at(first), at(pages)));
        for (auto p = first; p < first + pages; ++p)
          if (table[p] == used) table[p] = free;
        break;
      case 1: {
        bool can = true;
        for (auto p = first; p < first + pages; ++p) can &= usable(p);
        ASSERT_EQ(list.take(at(first), at(pages)), can) << step;
        for (auto p = first; can && p < first + pages; ++p) table[p] = used;
        break;
      }
      case 2: {
        const auto offset = list.allocate(at(pages));
        std::uint64_t most = 0, length = 0;
        for (std::uint64_t p = 0; p < kPages; ++p) most = std::max(most, length = usable(p) ? length + 1 : 0);
        ASSERT_EQ(offset.has_value(), most >= pages) << step;
        for (std::uint64_t p = 0; offset && p < pages; ++p) {
          ASSERT_TRUE(usable(*offset / kPageSize + p)) << step;
          table[*offset / kPageSize + p] = used;
        }
        break;
      }
      case 3: {
        for (auto& t : table)
          if (t == leaving) t = given;
        const auto had = count(free);
        std::uint64_t named = 0;
        for (const auto& r : list.inflate(at(pages)))
          for (auto p = r.offset / kPageSize; p < (r.offset + r.bytes) / kPageSize; ++p, ++named) {
            ASSERT_EQ(table[p], free) << step;
            table[p] = leaving;
          }
        ASSERT_EQ(named, std::min(had, pages));
        break;
      }
      case 4:
        list.deflate({range(first, pages)});
        for (auto p = first; p < first + pages; ++p)
          if (table[p] == given || table[p] == leaving) table[p] = free;
        for (auto& t : table)
          if (t == leaving) t = given;
        break;
    }
    ASSERT_EQ(list.free_bytes(), at(count(free))) << step;
    ASSERT_EQ(list.given_bytes(), at(count(given))) << step;
  }
}

TEST(PageListDriver, ThreadsNeverGetThePagesOfOthers) {
  constexpr std::uint64_t kPages = 256;
  PageListDriver list;
  ASSERT_TRUE(list.add_free(0, at(kPages)));
  std::vector<std::atomic<int>> owners(kPages);
  std::atomic<bool> over{false};
  std::thread host([&] {
    while (!over) {
      const auto ranges = list.inflate(at(40));
      for (const auto& r : ranges)
        for (auto p = r.offset / kPageSize; p < (r.offset + r.bytes) / kPageSize; ++p) ++owners[p];
      // Dropped now.
      for (const auto& r : ranges)
        for (auto p = r.offset / kPageSize; p < (r.offset + r.bytes) / kPageSize; ++p)
          EXPECT_EQ(owners[p].fetch_sub(1), 1);
      list.deflate(Ranges(ranges.begin(), ranges.begin() + (ranges.empty() ? 0 : 1)));
    }
  });
  std::vector<std::thread> users;
  for (int t = 0; t < 2; ++t)
    users.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        const auto offset = list.allocate(at(3));
        if (!offset) continue;
        const auto page = *offset / kPageSize;
        for (auto p = page; p < page + 3; ++p) EXPECT_EQ(owners[p].fetch_add(1), 0);
        for (auto p = page; p < page + 3; ++p) --owners[p];
        EXPECT_TRUE(list.add_free(*offset, at(3)));
      }
    });
  for (auto& u : users) u.join();
  over = true;
  host.join();
  list.deflate({});
  EXPECT_EQ(list.free_bytes() + list.given_bytes(), at(kPages));
}

}  // namespace
}  // namespace vmm
