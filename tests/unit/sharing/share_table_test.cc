#include "sharing/share_table.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "support/seed.h"

namespace vmm::sharing {
namespace {

ShareTable table(std::uint64_t entries) {
  auto made = ShareTable::create(entries);
  EXPECT_TRUE(made) << made.error().message();
  return std::move(*made);
}

// Of the same bucket whatever the table's size.
std::uint64_t key(std::uint64_t tag) { return tag << 40; }
constexpr ShareEntry hint(std::uint64_t page) { return {false, page}; }
constexpr ShareEntry shared(std::uint64_t frame) { return {true, frame}; }

TEST(ShareTable, ASecondPageWithTheKeyIsToldOfTheFirst) {
  auto t = table(1000);
  EXPECT_EQ(t.offer(key(7), 1), std::nullopt);
  EXPECT_EQ(t.offer(key(7), 1), std::nullopt) << "itself";
  EXPECT_EQ(t.offer(key(7), 2), hint(1));
  EXPECT_EQ(t.offer(key(8), 2), std::nullopt) << "another key";
  EXPECT_EQ(t.find(key(7)), hint(1));
  EXPECT_EQ(t.find(key(9)), std::nullopt);
  EXPECT_EQ(t.counts().hints, 2u);
}

TEST(ShareTable, WhatIsSharedComesFirst) {
  auto t = table(8);
  EXPECT_EQ(t.offer(key(1), 10), std::nullopt);
  ASSERT_TRUE(t.add_shared(key(1), 5));
  EXPECT_EQ(t.offer(key(1), 11), shared(5));
  EXPECT_EQ(t.offer(key(1), 10), shared(5)) << "who was the hint, too";
  EXPECT_TRUE(t.replace(key(1), hint(10), shared(6)));
  EXPECT_FALSE(t.replace(key(1), hint(10), shared(7))) << "not there any more";
  EXPECT_TRUE(t.erase(key(1), shared(5)));
  EXPECT_FALSE(t.erase(key(1), shared(5)));
  EXPECT_FALSE(t.erase(key(2), shared(6))) << "of another key";
  EXPECT_EQ(t.find(key(1)), shared(6));
  const auto counts = t.counts();
  EXPECT_EQ(counts.hints, 0u);
  EXPECT_EQ(counts.shared, 1u);
}

TEST(ShareTable, TheFirstAndTheLastNumberAreKept) {
  auto t = table(8);
  for (const auto number : {std::uint64_t{0}, ShareTable::kNumbers - 1}) {
    for (const bool is_shared : {false, true}) {
      const ShareEntry entry{is_shared, number};
      if (is_shared) ASSERT_TRUE(t.add_shared(key(0xffffff), number));
      else EXPECT_EQ(t.offer(key(0xffffff), number), std::nullopt);
      EXPECT_EQ(t.find(key(0xffffff)), entry);
      EXPECT_TRUE(t.erase(key(0xffffff), entry));
    }
  }
  EXPECT_EQ(t.find(key(0)), std::nullopt) << "nothing is an entry of key 0";
}

TEST(ShareTable, AFullBucketForgetsHintsAndNeverWhatIsShared) {
  auto t = table(8);
  ASSERT_EQ(t.capacity(), 8u);
  for (std::uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(t.add_shared(key(i), i));
  for (std::uint64_t i = 4; i < 100; ++i) EXPECT_EQ(t.offer(key(i), i), std::nullopt);
  EXPECT_EQ(t.find(key(99)), hint(99)) << "the last one has a place";
  auto counts = t.counts();
  EXPECT_EQ(counts.hints, 4u);
  EXPECT_EQ(counts.forgotten, 92u);
  for (std::uint64_t i = 100; i < 104; ++i) EXPECT_TRUE(t.add_shared(key(i), i));
  EXPECT_FALSE(t.add_shared(key(104), 104));
  EXPECT_EQ(t.offer(key(105), 105), std::nullopt);
  EXPECT_EQ(t.find(key(105)), std::nullopt) << "no place even for a hint";
  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(t.find(key(i)), shared(i));
  counts = t.counts();
  EXPECT_EQ(counts.hints, 0u);
  EXPECT_EQ(counts.shared, 8u);
  EXPECT_EQ(counts.refused, 2u);
}

// Against a model that forgets nothing: what the table tells was there, and shared entries are all there.
TEST(ShareTable, TellsNothingThatWasNotThere) {
  const auto seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  base::Random random(seed);
  auto t = table(4096);
  std::map<std::uint64_t, std::uint64_t> frames;                    // by key
  std::map<std::uint64_t, std::map<std::uint64_t, bool>> pages;     // ever offered, by key
  std::vector<std::uint64_t> keys(2000);
  // No two with the same tag, which would be taken for each other in one bucket.
  std::set<std::uint64_t> tags;
  for (auto& k : keys)
    do k = random.next();
    while (!tags.insert(k >> 40).second);
  for (int i = 0; i < 200'000; ++i) {
    const auto k = keys[random.below(keys.size())];
    const auto page = random.below(50);
    switch (random.below(4)) {
      case 0:
        if (frames.count(k) == 0 && t.add_shared(k, k >> 32)) frames[k] = k >> 32;
        break;
      case 1:
        EXPECT_EQ(t.erase(k, shared(k >> 32)), frames.erase(k) == 1);
        break;
      default: {
        const auto found = t.offer(k, page);
        if (frames.count(k) != 0) EXPECT_EQ(found, shared(frames[k]));
        else if (found) {
          EXPECT_FALSE(found->shared);
          EXPECT_NE(found->number, page);
          EXPECT_TRUE(pages[k].count(found->number) != 0);
        }
        pages[k][page] = true;
      }
    }
  }
  EXPECT_EQ(t.counts().shared, frames.size());
  EXPECT_LE(t.counts().hints + t.counts().shared, t.capacity());
}

// Each thread puts entries of its own in and takes them out again, in the same few buckets.
TEST(ShareTable, ThreadsLoseNothingOfOneAnother) {
  auto t = table(64);
  constexpr std::uint64_t kThreads = 4, kRounds = 20'000;
  std::atomic<std::uint64_t> kept{0};
  std::vector<std::thread> threads;
  for (std::uint64_t n = 0; n < kThreads; ++n)
    threads.emplace_back([&, n] {
      base::Random random(n + 1);
      for (std::uint64_t i = 0; i < kRounds; ++i) {
        const auto k = random.next();
        const auto frame = n * kRounds + i;
        t.offer(random.next(), frame);
        if (!t.add_shared(k, frame)) continue;
        EXPECT_TRUE(t.erase(k, shared(frame)));
        kept.fetch_add(1, std::memory_order_relaxed);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_GT(kept.load(), 0u);
  EXPECT_EQ(t.counts().shared, 0u);
  EXPECT_LE(t.counts().hints, t.capacity());
}

}  // namespace
}  // namespace vmm::sharing
