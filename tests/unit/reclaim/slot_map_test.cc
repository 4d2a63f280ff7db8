#include "reclaim/slot_map.h"

#include <atomic>
#include <cerrno>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "support/fault_injector.h"
#include "support/seed.h"

namespace vmm::reclaim {
namespace {

constexpr std::uint64_t kNone = ~std::uint64_t{0};  // a preferred slot that does not exist

SlotMap make(std::uint64_t slots) {
  auto map = SlotMap::create(slots);
  EXPECT_TRUE(map) << map.error().message();
  return std::move(*map);
}

// A map drawn as a string: 'x' used, '.' free.
SlotMap make(const std::string& drawing) {
  SlotMap map = make(drawing.size());
  EXPECT_EQ(map.allocate(0, static_cast<std::uint32_t>(drawing.size())).count, drawing.size());
  for (std::size_t i = 0; i < drawing.size(); ++i)
    if (drawing[i] == '.') map.free(i, 1);
  return map;
}

TEST(SlotMapTest, TakesThePreferredSlotsWhereTheyAreFree) {
  struct Case {
    std::string before;
    std::uint64_t preferred;
    std::uint32_t want;
    SlotRun run;
  };
  for (const Case& c : {
           Case{"........", 0, 4, {0, 4}},
           Case{"........", 5, 4, {5, 3}},  // cut at the end
           Case{"..x.....", 0, 4, {0, 2}},  // cut at a used slot
           Case{"x.x.....", 1, 4, {1, 1}},
           Case{"xxxxxxx.", 7, 1, {7, 1}},
           Case{"........", 3, 0, {0, 0}},
       }) {
    SlotMap map = make(c.before);
    EXPECT_EQ(map.allocate(c.preferred, c.want), c.run) << c.before << " preferred " << c.preferred;
  }
}

TEST(SlotMapTest, ElseTakesTheLongestRunUpToWhatIsWanted) {
  struct Case {
    std::string before;
    std::uint64_t preferred;
    std::uint32_t want;
    SlotRun run;
  };
  for (const Case& c : {
           Case{"x.x..x...x....xx", 0, 2, {3, 2}},      // the first that is long enough
           Case{"x.x..x...x....xx", 0, 64, {10, 4}},    // none is: the longest
           Case{"x.x..x...x....xx", kNone, 3, {6, 3}},  // no preference
           Case{"xxxxxxxxxxxxxxx.", 0, 9, {15, 1}}, Case{"xxxxxxxxxxxxxxxx", 0, 1, {0, 0}},  // full
       }) {
    SlotMap map = make(c.before);
    EXPECT_EQ(map.allocate(c.preferred, c.want), c.run) << c.before << " want " << c.want;
  }
}

TEST(SlotMapTest, SearchGoesOnWhereItEndedAndComesRound) {
  SlotMap map = make(128);
  EXPECT_EQ(map.allocate(kNone, 48), (SlotRun{0, 48}));
  EXPECT_EQ(map.allocate(kNone, 48), (SlotRun{48, 48}));
  map.free(0, 48);
  EXPECT_EQ(map.allocate(kNone, 16), (SlotRun{96, 16}));
  EXPECT_EQ(map.allocate(kNone, 32), (SlotRun{0, 32}));  // 16 are left at the end, 48 at the start
  EXPECT_EQ(map.allocate(kNone, 64), (SlotRun{32, 16}));
  EXPECT_EQ(map.allocate(kNone, 64), (SlotRun{112, 16}));
  EXPECT_EQ(map.allocate(kNone, 64).count, 0U);
  EXPECT_EQ(map.in_use(), 128U);
}

TEST(SlotMapTest, FindsTheOnlyFreeSlotOfALargeMap) {
  constexpr std::uint64_t kSlots = (1 << 20) + 13;  // the last word is partly past the end
  SlotMap map = make(kSlots);
  EXPECT_EQ(map.allocate(0, kSlots), (SlotRun{0, kSlots}));
  for (const std::uint64_t slot : {std::uint64_t{0}, std::uint64_t{63}, std::uint64_t{64}, std::uint64_t{4095},
                                   std::uint64_t{4096}, std::uint64_t{777'777}, kSlots - 14, kSlots - 1}) {
    map.free(slot, 1);
    EXPECT_EQ(map.in_use(), kSlots - 1);
    EXPECT_EQ(map.allocate(kNone, 64), (SlotRun{slot, 1}));
    EXPECT_EQ(map.allocate(kNone, 64).count, 0U);
  }
}

TEST(SlotMapTest, OfNoSlotsIsFull) {
  SlotMap map = make(0);
  EXPECT_EQ(map.allocate(0, 1).count, 0U);
  map.free(0, 0);
  EXPECT_EQ(map.in_use(), 0U);
}

TEST(SlotMapTest, AgreesWithASetOverRandomOperations) {
  const auto seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  base::Random random(seed);
  for (const std::uint64_t slots : {1U, 63U, 64U, 65U, 300U, 4096U, 5000U}) {
    SCOPED_TRACE(std::to_string(slots) + " slots");
    SlotMap map = make(slots);
    std::set<std::uint64_t> used;
    std::vector<SlotRun> runs;
    for (int step = 0; step < 5000; ++step) {
      // Phases that fill and phases that empty.
      const bool filling = (step / 1000) % 2 == 0;
      if (random.below(10) < (filling ? 8U : 3U)) {
        const std::uint64_t preferred = random.below(slots + slots / 4 + 1);
        const auto want = static_cast<std::uint32_t>(1 + random.below(64));
        const SlotRun run = map.allocate(preferred, want);
        ASSERT_EQ(run.count == 0, used.size() == slots);
        if (run.count == 0) continue;
        ASSERT_LE(run.count, want);
        ASSERT_LE(run.first + run.count, slots);
        if (preferred < slots && used.count(preferred) == 0) {
          ASSERT_EQ(run.first, preferred);
          // As long as can be: cut only by want, the end or a used slot.
          const auto end = run.first + run.count;
          ASSERT_TRUE(run.count == want || end == slots || used.count(end) == 1);
        }
        for (std::uint64_t s = run.first; s < run.first + run.count; ++s) ASSERT_TRUE(used.insert(s).second) << s;
        runs.push_back(run);
      } else if (!runs.empty()) {
        // Part of a run from its end, so the rest stays a run.
        SlotRun& run = runs[random.below(runs.size())];
        const auto count = static_cast<std::uint32_t>(1 + random.below(run.count));
        run.count -= count;
        map.free(run.first + run.count, count);
        for (std::uint32_t i = 0; i < count; ++i) used.erase(run.first + run.count + i);
        if (run.count == 0) {
          run = runs.back();
          runs.pop_back();
        }
      }
      ASSERT_EQ(map.in_use(), used.size());
    }
    // What is left is exactly what the map still gives out.
    std::uint64_t rest = 0;
    while (const auto count = map.allocate(kNone, 64).count) rest += count;
    EXPECT_EQ(rest, slots - used.size());
  }
}

TEST(SlotMapTest, NoSlotHasTwoOwnersUnderThreads) {
  constexpr std::uint64_t kSlots = 2000;
  SlotMap map = make(kSlots);
  std::vector<std::atomic<int>> owners(kSlots);
  std::atomic<bool> wrong{false};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      base::Random random(t);
      std::vector<SlotRun> mine;
      const auto give_back = [&](const SlotRun& run) {
        for (std::uint64_t s = run.first; s < run.first + run.count; ++s) {
          if (map.checksum(s) != (t << 32 | s)) wrong = true;
          owners[s].fetch_sub(1);
        }
        map.free(run.first, run.count);
      };
      for (int i = 0; i < 4000; ++i) {
        if (mine.size() < 20 && random.below(2) == 0) {
          const SlotRun run = map.allocate(random.below(kSlots), static_cast<std::uint32_t>(1 + random.below(64)));
          for (std::uint64_t s = run.first; s < run.first + run.count; ++s) {
            if (owners[s].fetch_add(1) != 0) wrong = true;
            map.set_checksum(s, t << 32 | s);
          }
          if (run.count > 0) mine.push_back(run);
        } else if (!mine.empty()) {
          give_back(mine.back());
          mine.pop_back();
        }
      }
      for (const SlotRun& run : mine) give_back(run);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(wrong);
  EXPECT_EQ(map.in_use(), 0U);
}

TEST(SlotMapTest, KeepsTheChecksumOfEachSlot) {
  SlotMap map = make(1000);
  for (std::uint64_t slot = 0; slot < 1000; ++slot) map.set_checksum(slot, slot * 0x9e3779b97f4a7c15ULL);
  EXPECT_EQ(map.allocate(0, 1000).count, 1000U);
  map.free(3, 900);
  for (std::uint64_t slot = 0; slot < 1000; ++slot) EXPECT_EQ(map.checksum(slot), slot * 0x9e3779b97f4a7c15ULL);
}

TEST(SlotMapTest, MovesWithItsContents) {
  SlotMap from = make(100);
  EXPECT_EQ(from.allocate(10, 5), (SlotRun{10, 5}));
  from.set_checksum(10, 42);
  SlotMap to = std::move(from);
  EXPECT_EQ(to.in_use(), 5U);
  EXPECT_EQ(to.checksum(10), 42U);
  EXPECT_EQ(to.allocate(8, 64), (SlotRun{8, 2}));
  EXPECT_EQ(from.slots(), 0U);  // NOLINT(bugprone-use-after-move): the moved-from state is part of the contract
  EXPECT_EQ(from.allocate(0, 1).count, 0U);
}

TEST(SlotMapTest, NoMemoryIsAnError) {
  const test::NthCallFails injected(os::Call::mmap, 1, ENOMEM);
  EXPECT_EQ(SlotMap::create(1000).error().code, std::errc::not_enough_memory);
}

TEST(SlotMapDeathTest, GivingBackWhatIsNotUsedAborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  SlotMap map = make(100);
  map.allocate(10, 20);
  EXPECT_DEATH(map.free(9, 1), "broken invariant");
  EXPECT_DEATH(map.free(29, 2), "broken invariant");
  EXPECT_DEATH(map.free(100, 1), "broken invariant");
  EXPECT_DEATH(map.free(99, 2), "broken invariant");
  EXPECT_DEATH(map.free(10, kNone), "broken invariant");
  EXPECT_DEATH(map.set_checksum(100, 1), "broken invariant");
  map.free(10, 20);
  EXPECT_DEATH(map.free(10, 1), "broken invariant");
}

}  // namespace
}  // namespace vmm::reclaim
