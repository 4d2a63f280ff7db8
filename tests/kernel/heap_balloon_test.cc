// The balloon driver of vmm::Heap: what it gives is free and frees memory, and nothing that is used is ever given.
#include <array>
#include <atomic>
#include <list>
#include <memory>
#include <memory_resource>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "heap/guest_extents.h"
#include "support/child.h"
#include "support/heap_rig.h"
#include "vmm/heap.h"

namespace vmm {
namespace {

using test::Block;
using test::HeapRig;
using test::make_block;

class HeapBalloonTest : public test::EachWay {};
VMM_EACH_WAY(HeapBalloonTest);

void free_all(Heap& heap, std::vector<Block>& blocks) {
  for (const auto& block : blocks) heap.free(block.memory);
  blocks.clear();
}

TEST_P(HeapBalloonTest, WhatIsFreeIsGivenAndLeavesMemory) {
  HeapRig rig(GetParam());
  std::vector<Block> kept, freed;
  for (std::uint64_t i = 0; i < 200; ++i)
    (i % 4 == 0 ? kept : freed).push_back(make_block(rig.heap, 64 * KiB, i << 32));
  free_all(rig.heap, freed);
  const auto before = rig.resident();
  ASSERT_GE(before, 200 * 64 * KiB);
  const auto ranges = rig.driver->inflate(4 * MiB);
  EXPECT_EQ(HeapRig::sum(ranges), 4 * MiB);
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    EXPECT_EQ(ranges[i].offset % kPageSize + ranges[i].bytes % kPageSize, 0u);
    EXPECT_LE(ranges[i].offset + ranges[i].bytes, rig.guest.memory().size());
    if (i > 0) {
      EXPECT_GT(ranges[i].offset, ranges[i - 1].offset + ranges[i - 1].bytes) << "in order, and merged";
    }
  }
  EXPECT_EQ(rig.resident(), before) << "the driver itself drops nothing";
  rig.drop(ranges);
  EXPECT_EQ(rig.resident(), before - 4 * MiB) << "all that was given was in memory";
  EXPECT_EQ(rig.heap.stats().given, 4 * MiB);
  // The rest of what is free; then there is nothing to give.
  rig.balloon(32 * MiB);
  EXPECT_LE(rig.resident(), 50 * 68 * KiB + kHugePageSize);
  EXPECT_EQ(rig.balloon(32 * MiB), 0u);
  for (const auto& block : kept) EXPECT_TRUE(block.right());
}

TEST_P(HeapBalloonTest, WhatWasNeverUsedIsNotGiven) {
  HeapRig rig(GetParam());
  EXPECT_EQ(rig.balloon(8 * MiB), 0u);
  EXPECT_NE(rig.heap.allocate(1 * MiB), nullptr);
  EXPECT_EQ(rig.balloon(8 * MiB), 0u);
}

TEST_P(HeapBalloonTest, GivenMemoryIsUsedAgainWhenNothingElseIsLeft) {
  HeapRig rig(GetParam());
  auto blocks = test::fill_heap(rig.heap, 16 * KiB);
  const std::size_t most = blocks.size();
  free_all(rig.heap, blocks);
  EXPECT_GE(rig.balloon(32 * MiB), 28 * MiB);
  rig.driver->deflate({});  // the host has dealt with what was given
  const auto given = rig.heap.stats().given;
  blocks = test::fill_heap(rig.heap, 16 * KiB);
  EXPECT_GE(blocks.size(), most * 9 / 10);
  EXPECT_LT(rig.heap.stats().given, given / 4);
  for (const auto& block : blocks) EXPECT_TRUE(block.right());
  free_all(rig.heap, blocks);
  EXPECT_GE(rig.balloon(32 * MiB), 28 * MiB) << "and it can be given again";
}

// The host may drop what it was given long after the driver has answered. Where the heap cannot do without, it pins.
TEST_P(HeapBalloonTest, MemoryUsedAgainBeforeTheHostDropsItIsNotLost) {
  HeapRig rig(GetParam());
  auto blocks = test::fill_heap(rig.heap, 16 * KiB);
  free_all(rig.heap, blocks);
  const auto ranges = rig.driver->inflate(32 * MiB);
  ASSERT_GE(HeapRig::sum(ranges), 28 * MiB);
  for (std::uint64_t i = 0; i < 500; ++i) blocks.push_back(make_block(rig.heap, 16 * KiB, i << 32));
  for (const auto& block : blocks) ASSERT_NE(block.memory, nullptr);
  EXPECT_GT(rig.guest.stats()->pinned, 0u);
  rig.drop(ranges);
  for (const auto& block : blocks) ASSERT_TRUE(block.right());
  EXPECT_EQ(rig.guest.stats()->pinned, 0u) << "the host has answered";
  rig.balloon(32 * MiB);
  for (const auto& block : blocks) ASSERT_TRUE(block.right());
}

TEST_P(HeapBalloonTest, WhatTheHostHandsBackIsUsedFirst) {
  HeapRig rig(GetParam());
  auto blocks = test::fill_heap(rig.heap, 16 * KiB);
  free_all(rig.heap, blocks);
  const auto ranges = rig.driver->inflate(16 * MiB);
  rig.drop(ranges);
  rig.driver->deflate(ranges);
  EXPECT_EQ(rig.heap.stats().given, 0u);
  rig.driver->deflate({{0, 64 * MiB}, {1 * GiB, kPageSize}, {~0ULL, ~0ULL}});  // of no meaning
  blocks = test::fill_heap(rig.heap, 16 * KiB);
  for (const auto& block : blocks) ASSERT_TRUE(block.right());
  rig.driver->deflate(ranges);
  for (const auto& block : blocks) ASSERT_TRUE(block.right());
}

TEST_P(HeapBalloonTest, ZeroedExtentsAreZeroWhateverTheirPagesWere) {
  HeapRig rig(GetParam());
  rig.heap = Heap();
  heap::GuestExtents extents(rig.guest);
  for (std::size_t bytes : {kPageSize, 16 * kPageSize, 1 * MiB}) {
    for (int round = 0; round < 4; ++round) {
      bool zero = true;
      auto* const memory = static_cast<std::byte*>(extents.allocate(nullptr, bytes, kPageSize, zero));
      ASSERT_NE(memory, nullptr);
      EXPECT_TRUE(zero);
      for (std::size_t at = 0; at < bytes; at += kPageSize) ASSERT_TRUE(test::is_zero(memory + at));
      std::memset(memory, 0xab, bytes);
      zero = round % 2 == 0;  // some are handed back between
      ASSERT_TRUE(extents.release(memory, bytes));
      std::vector<heap::PageSpan> given;
      if (round == 2) {
        extents.give(bytes / kPageSize, given);  // never dropped: the host refused it
        extents.settle();
      }
    }
  }
  bool zero = false;
  auto* const memory = static_cast<std::byte*>(extents.allocate(nullptr, kPageSize, kPageSize, zero));
  EXPECT_TRUE(!zero || test::is_zero(memory)) << "zero is promised only where it is so";
  EXPECT_EQ(extents.allocate(memory, kPageSize, kPageSize, zero), nullptr);
  ASSERT_TRUE(extents.release(memory, kPageSize));
  EXPECT_EQ(extents.allocate(memory, kPageSize, kPageSize, zero), memory);
  EXPECT_EQ(extents.allocate(rig.guest.memory().data() - kPageSize, kPageSize, kPageSize, zero), nullptr);
}

TEST_P(HeapBalloonTest, PressureIsForWhatFreeMemoryDoesNotCover) {
  std::list<Block> cache;
  std::vector<std::uint64_t> asked;
  Heap* heap = nullptr;
  HeapOptions options;
  options.on_pressure = [&](std::uint64_t bytes) {
    asked.push_back(bytes);
    for (std::uint64_t freed = 0; freed < bytes && !cache.empty(); cache.pop_front()) {
      EXPECT_TRUE(cache.front().right());
      freed += cache.front().bytes;
      heap->free(cache.front().memory);
    }
    heap->free(heap->allocate(100));  // it may use the heap
  };
  HeapRig rig(GetParam(), 32 * MiB, options);
  heap = &rig.heap;
  std::vector<Block> freed;
  for (std::uint64_t i = 0; i < 100; ++i) freed.push_back(make_block(rig.heap, 64 * KiB, i << 32));
  for (std::uint64_t i = 0; i < 200; ++i) cache.push_back(make_block(rig.heap, 64 * KiB, i << 33 | 1));
  free_all(rig.heap, freed);
  const auto before = rig.resident();
  EXPECT_EQ(rig.balloon(5 * MiB), 5 * MiB);
  EXPECT_TRUE(asked.empty()) << "free memory was enough";
  EXPECT_EQ(rig.balloon(5 * MiB), 5 * MiB);
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_LT(asked.front(), 5 * MiB) << "only what is missing";
  EXPECT_EQ(before - rig.resident(), 10 * MiB) << "what it freed is given at once";
  EXPECT_GT(cache.size(), 100u);
  rig.balloon(32 * MiB);
  EXPECT_TRUE(cache.empty());
  EXPECT_EQ(rig.heap.stats().pressure_calls, 2u);
  EXPECT_LE(rig.resident(), kHugePageSize) << "what was filled ahead, at most";
}

TEST_P(HeapBalloonTest, PressureThatThrowsIsCounted) {
  std::vector<Block> cache;
  Heap* heap = nullptr;
  HeapOptions options;
  options.on_pressure = [&](std::uint64_t) {
    free_all(*heap, cache);
    throw std::runtime_error("enough");
  };
  HeapRig rig(GetParam(), 32 * MiB, options);
  heap = &rig.heap;
  for (std::uint64_t i = 0; i < 64; ++i) cache.push_back(make_block(rig.heap, 64 * KiB, i << 32));
  EXPECT_GE(rig.balloon(8 * MiB), 4 * MiB) << "what it had freed is given";
  EXPECT_EQ(rig.balloon(8 * MiB), 0u);
  EXPECT_EQ(rig.heap.stats().pressure_calls, 2u);
  EXPECT_EQ(rig.heap.stats().pressure_failures, 2u);
}

TEST_P(HeapBalloonTest, TheDriverMayOutliveTheHeap) {
  HeapRig rig(GetParam());
  rig.heap.free(make_block(rig.heap, 4 * MiB, 1).memory);
  const auto ranges = rig.driver->inflate(1 * MiB);
  ASSERT_FALSE(ranges.empty());
  rig.heap = Heap();
  EXPECT_TRUE(rig.driver->inflate(1 * MiB).empty());
  rig.driver->deflate(ranges);
}

TEST_P(HeapBalloonTest, PressureMayEndTheHeapAndItsGuest) {
  HeapRig* where = nullptr;
  HeapOptions options;
  options.on_pressure = [&](std::uint64_t) {
    where->heap = Heap();
    where->guest = Guest();
  };
  HeapRig rig(GetParam(), 8 * MiB, options);
  where = &rig;
  ASSERT_NE(rig.heap.allocate(1 * MiB), nullptr);
  EXPECT_TRUE(rig.driver->inflate(1 * MiB).empty());
  EXPECT_TRUE(rig.driver->inflate(1 * MiB).empty());
}

// The end of the heap waits for a call of the driver, so that on_pressure never runs with what it uses gone.
TEST_P(HeapBalloonTest, TheEndWaitsForACallThatIsUnderWay) {
  for (int round = 0; round < 50; ++round) {
    auto cache = std::make_unique<std::vector<Block>>();
    std::atomic<bool> inside{false}, alive{true};
    Heap* heap = nullptr;
    HeapOptions options;
    options.on_pressure = [&](std::uint64_t) {
      inside = true;
      inside.notify_all();
      for (int i = 0; i < 100; ++i) std::this_thread::yield();
      EXPECT_TRUE(alive);
      free_all(*heap, *cache);
    };
    HeapRig rig(GetParam(), 4 * MiB, options);
    heap = &rig.heap;
    for (std::uint64_t i = 0; i < 16; ++i) cache->push_back(make_block(rig.heap, 16 * KiB, i << 32));
    std::thread balloon([&] {
      for (int i = 0; i < 5; ++i) rig.driver->inflate(1 * MiB);
    });
    inside.wait(false);
    rig.heap = Heap();
    alive = false;
    balloon.join();
  }
}

// So that a cache in the heap can go before the heap does.
TEST_P(HeapBalloonTest, ReplacingTheCallbackWaitsForTheFormer) {
  HeapRig rig(GetParam(), 4 * MiB);
  for (int round = 0; round < 50; ++round) {
    auto cache = std::make_unique<std::pmr::list<std::pmr::string>>(&rig.heap.resource());
    for (int i = 0; i < 30; ++i) cache->emplace_back(10'000, 'x');
    std::atomic<bool> inside{false};
    rig.heap.on_pressure([&](std::uint64_t) {
      inside = true;
      inside.notify_all();
      for (int i = 0; i < 100; ++i) std::this_thread::yield();
      cache->clear();
    });
    std::thread balloon([&] { rig.driver->inflate(2 * MiB); });
    inside.wait(false);
    rig.heap.on_pressure({});
    EXPECT_TRUE(cache->empty());
    cache.reset();
    balloon.join();
    rig.balloon(2 * MiB);
    EXPECT_EQ(rig.heap.stats().pressure_calls, static_cast<std::uint64_t>(round + 1));
  }
}

TEST_P(HeapBalloonTest, AChildHasNoHeap) {
  HeapRig rig(GetParam());
  const auto block = make_block(rig.heap, 1000, 1);
  VMM_EXPECT_CHILD(test::in_child([&](test::Findings& findings) {
    findings.check(rig.heap.allocate(8) == nullptr, "allocated in the child");
    rig.heap.free(block.memory);
    findings.check(rig.driver->inflate(1 * MiB).empty(), "gave memory in the child");
    rig.driver->deflate({{0, kPageSize}});
    findings.check_equal(rig.heap.stats().allocated, 0u, "allocated");
    rig.heap = Heap();
  }));
  EXPECT_TRUE(block.right());
  EXPECT_GE(rig.heap.stats().allocated, 1000u);
}

// A balloon takes and hands back all the time while two threads use the heap: no byte of theirs may change. The host
// drops late, after others have allocated.
TEST_P(HeapBalloonTest, NothingInUseIsEverGiven) {
  HeapRig rig(GetParam(), 16 * MiB);
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::atomic<std::uint64_t> full{0};
  std::vector<std::thread> users;
  for (std::uint64_t t = 0; t < 2; ++t)
    users.emplace_back([&, t] {
      std::vector<Block> blocks(t == 0 ? 300 : 3000);
      std::uint64_t random = t + 1;
      for (std::uint64_t step = 0; !stop || step < 3000; ++step) {
        random = test::scramble(random + step);
        Block& block = blocks[random % blocks.size()];
        if (block.memory != nullptr && !block.right()) ++wrong;
        rig.heap.free(block.memory);
        const std::size_t bytes = t == 0 ? 1 + (random >> 8) % 60'000 : 1 + (random >> 8) % 3000;
        block = make_block(rig.heap, bytes, t << 60 | step << 24);
        if (block.memory == nullptr) ++full;
      }
      for (const auto& block : blocks) {
        if (block.memory != nullptr && !block.right()) ++wrong;
        rig.heap.free(block.memory);
      }
    });
  std::uint64_t given = 0, random = 7;
  for (int round = 0; round < 400 || (given <= 16 * MiB && round < 1'000'000); ++round) {
    random = test::scramble(random);
    const auto ranges = rig.driver->inflate(random % (8 * MiB));
    given += HeapRig::sum(ranges);
    for (std::uint64_t i = 0; i < random % 64; ++i) std::this_thread::yield();
    rig.drop(ranges);
    if (random % 3 == 0) rig.driver->deflate(ranges);
  }
  stop = true;
  for (auto& user : users) user.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(given, 16 * MiB);
  EXPECT_EQ(rig.heap.stats().allocated, 0u);
}

}  // namespace
}  // namespace vmm
