// vmm::Heap: what an allocator owes its users, with all of its memory in a guest.
#include "vmm/heap.h"

#include <array>
#include <atomic>
#include <map>
#include <memory_resource>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/heap_rig.h"

namespace vmm {
namespace {

using test::Block;
using test::HeapRig;
using test::make_block;

class HeapTest : public test::EachWay {};
VMM_EACH_WAY(HeapTest);

TEST_P(HeapTest, AllocationsLieInTheGuestAlignedAndApart) {
  HeapRig rig(GetParam());
  std::map<std::uintptr_t, std::size_t> taken;
  std::vector<Block> blocks;
  for (const std::size_t bytes : std::array<std::size_t, 9>{0, 1, 7, 8, 100, 4096, 5000, 40'000, 300'000}) {
    for (std::size_t alignment = 1; alignment <= 64 * KiB; alignment *= 2) {
      void* const memory = rig.heap.allocate(bytes, alignment);
      ASSERT_NE(memory, nullptr) << bytes << " aligned to " << alignment;
      const auto usable = rig.heap.usable_size(memory);
      EXPECT_GE(usable, bytes);
      EXPECT_TRUE(rig.inside(memory, usable));
      const auto address = reinterpret_cast<std::uintptr_t>(memory);
      EXPECT_EQ(address % alignment, 0u);
      const auto next = taken.lower_bound(address);
      EXPECT_TRUE(next == taken.end() || next->first >= address + usable);
      EXPECT_TRUE(next == taken.begin() || std::prev(next)->first + std::prev(next)->second <= address);
      taken[address] = usable;
      blocks.push_back({memory, usable, blocks.size() << 32});
      blocks.back().fill();
    }
  }
  for (const auto& block : blocks) {
    EXPECT_TRUE(block.right());
    rig.heap.free(block.memory);
  }
  EXPECT_EQ(rig.heap.stats().allocated, 0u);
}

TEST_P(HeapTest, RefusesWhatCannotBe) {
  HeapRig rig(GetParam());
  EXPECT_EQ(rig.heap.allocate(8, 3), nullptr);
  EXPECT_EQ(rig.heap.allocate(8, 0), nullptr);
  EXPECT_EQ(rig.heap.allocate(~std::size_t{0}), nullptr);
  EXPECT_EQ(rig.heap.allocate(8, std::size_t{1} << 63), nullptr);
  EXPECT_EQ(rig.heap.allocate(33 * MiB), nullptr);
  rig.heap.free(nullptr);
  EXPECT_EQ(rig.heap.usable_size(nullptr), 0u);
  EXPECT_EQ(rig.heap.stats().allocated, 0u);
}

TEST_P(HeapTest, FreedMemoryIsUsedAgain) {
  HeapRig rig(GetParam());
  for (int round = 0; round < 20; ++round) {  // together far more than the guest
    std::vector<void*> all;
    for (int i = 0; i < 200; ++i) all.push_back(rig.heap.allocate(64 * KiB));
    for (void* memory : all) {
      ASSERT_NE(memory, nullptr) << "round " << round;
      std::memset(memory, 1, 64 * KiB);
      rig.heap.free(memory);
    }
  }
  EXPECT_LE(rig.resident(), 20 * MiB);
  const auto stats = rig.heap.stats();
  EXPECT_EQ(stats.memory, 32 * MiB);
  EXPECT_EQ(stats.allocated, 0u);
  EXPECT_EQ(stats.active + stats.free, stats.memory);
}

TEST_P(HeapTest, AFullHeapSaysSoAndRecovers) {
  HeapRig rig(GetParam());
  for (const std::size_t bytes : std::array<std::size_t, 4>{100, 2000, 16'384, 700'000}) {
    auto blocks = test::fill_heap(rig.heap, bytes);
    EXPECT_GE(blocks.size() * bytes, rig.guest.memory().size() * 7 / 10) << bytes;
    EXPECT_THROW((void)rig.heap.resource().allocate(bytes), std::bad_alloc);
    // Every second one: the holes are used again.
    for (std::size_t i = 0; i < blocks.size(); i += 2) {
      ASSERT_TRUE(blocks[i].right());
      rig.heap.free(blocks[i].memory);
      blocks[i] = make_block(rig.heap, bytes, blocks[i].id + 1);
      ASSERT_NE(blocks[i].memory, nullptr);
    }
    for (const auto& block : blocks) {
      ASSERT_TRUE(block.right());
      rig.heap.free(block.memory);
    }
  }
  // Nothing is lost to pieces: small ones, large ones, and what is almost all.
  EXPECT_NE(rig.heap.allocate(24 * MiB), nullptr);
}

// Allocations of whole pages take no more than that: no page beside each for the sake of cache lines.
TEST_P(HeapTest, WholePagesTakeNoMore) {
  HeapRig rig(GetParam());
  std::uint64_t blocks = 0;
  while (rig.heap.allocate(16'384) != nullptr) ++blocks;
  EXPECT_GE(blocks * 16'384, rig.guest.memory().size() / 100 * 98);
}

TEST_P(HeapTest, SurvivesTheSwapFile) {
  HeapRig rig(GetParam());
  std::vector<Block> blocks;
  for (std::size_t bytes = 16; blocks.size() < 2000; bytes = bytes * 5 / 4 % 20'000 + 16)
    blocks.push_back(make_block(rig.heap, bytes, blocks.size() << 32));
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(test::HostRig::reclaim_down_to(rig.guest, 0));
    for (std::size_t i = static_cast<std::size_t>(round); i < blocks.size(); i += 3) {  // freed while swapped out
      rig.heap.free(blocks[i].memory);
      blocks[i] = make_block(rig.heap, blocks[i].bytes, blocks[i].id + 1);
    }
    for (const auto& block : blocks) ASSERT_TRUE(block.right());
  }
}

TEST_P(HeapTest, PmrContainersLiveInTheGuest) {
  HeapRig rig(GetParam());
  auto& resource = rig.heap.resource();
  EXPECT_TRUE(resource.is_equal(rig.heap.resource()));
  EXPECT_FALSE(resource.is_equal(*std::pmr::new_delete_resource()));
  {
    std::pmr::map<int, std::pmr::string> map(&resource);
    for (int i = 0; i < 20'000; ++i) map[i] = "a value that is longer than a short string: " + std::to_string(i);
    EXPECT_TRUE(rig.inside(&*map.begin(), sizeof(*map.begin())));
    EXPECT_TRUE(rig.inside(map[7].data(), map[7].size()));
    std::pmr::vector<std::uint64_t> vector(&resource);
    for (std::uint64_t i = 0; i < 300'000; ++i) vector.push_back(i);  // grows as realloc would
    EXPECT_TRUE(rig.inside(vector.data(), vector.size() * 8));
    Heap moved(std::move(rig.heap));  // the resource stays what it is
    for (int i = 0; i < 20'000; i += 2) map.erase(i);
    for (std::uint64_t i = 0; i < 300'000; ++i) ASSERT_EQ(vector[i], i);
    EXPECT_EQ(map.at(19'999), "a value that is longer than a short string: 19999");
    rig.heap = std::move(moved);
  }
  EXPECT_EQ(rig.heap.stats().allocated, 0u);
}

TEST_P(HeapTest, TwoHeapsDoNotMix) {
  HeapRig rig(GetParam());
  Guest other_guest = rig.host.add("other", 2048);
  auto other = Heap::create(other_guest);
  ASSERT_TRUE(other);
  std::vector<std::pair<Block, Heap*>> blocks;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    Heap& heap = i % 2 == 0 ? rig.heap : *other;
    blocks.emplace_back(make_block(heap, 16 + i % 500, i << 32), &heap);
    ASSERT_EQ(rig.inside(blocks.back().first.memory, 16), i % 2 == 0);
  }
  std::thread([&] {  // freed by another thread
    for (std::size_t i = 0; i < blocks.size(); i += 3) {
      blocks[i].second->free(blocks[i].first.memory);
      blocks[i].first = make_block(*blocks[i].second, 64, i << 32 | 1);
      EXPECT_EQ(rig.inside(blocks[i].first.memory, 16), i % 2 == 0);
    }
  }).join();
  const auto before = other->stats().allocated;
  *other = Heap();  // without freeing: the other heap has all of its blocks still
  EXPECT_GT(before, 0u);
  for (std::size_t i = 0; i < blocks.size(); i += 2) ASSERT_TRUE(blocks[i].first.right());
}

TEST_P(HeapTest, HeapsComeAndGo) {
  HeapRig rig(GetParam());
  for (int round = 0; round < 200; ++round) {
    void* const memory = rig.heap.allocate(20 * MiB);
    ASSERT_NE(memory, nullptr) << "round " << round;
    ASSERT_EQ(static_cast<std::byte*>(memory)[5 * MiB], std::byte{0}) << "a new heap's guest holds nothing";
    static_cast<std::byte*>(memory)[5 * MiB] = std::byte{1};
    rig.heap = Heap();
    auto next = Heap::create(rig.guest);
    ASSERT_TRUE(next) << next.error().message();
    rig.heap = std::move(*next);
  }
}

TEST_P(HeapTest, CreateNamesWhatIsWrong) {
  Guest nothing;
  const auto inert = Heap::create(nothing);
  ASSERT_FALSE(inert);
  EXPECT_EQ(inert.error().code, Errc::inert_handle);
  HeapRig rig(GetParam());
  Guest other = rig.host.add("other", 256);
  const auto pin = other.pin(0, kPageSize);
  ASSERT_TRUE(pin);
  const auto pinned = Heap::create(other);
  ASSERT_FALSE(pinned);
  EXPECT_EQ(pinned.error().code, Errc::pages_pinned);
  Heap empty;
  EXPECT_EQ(empty.allocate(1), nullptr);
  EXPECT_EQ(empty.balloon_driver(), nullptr);
  EXPECT_EQ(empty.stats().memory, 0u);
  EXPECT_THROW((void)empty.resource().allocate(1), std::bad_alloc);
}

// Each thread has blocks of its own that grow and shrink, and hands every fourth to the next thread, which frees it.
TEST_P(HeapTest, FourThreadsAllocateCopyAndFree) {
  HeapRig rig(GetParam());
  constexpr int kThreads = 4;
  std::atomic<int> wrong{0};
  std::array<std::atomic<Block*>, kThreads> handed{};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      std::vector<Block> blocks(64);
      std::uint64_t random = static_cast<std::uint64_t>(t) + 1;
      for (std::uint64_t step = 0; step < 6000; ++step) {
        random = test::scramble(random + step);
        Block& block = blocks[random % blocks.size()];
        const std::size_t bytes = 1 + (random >> 8) % ((random >> 32) % 8 == 0 ? 60'000 : 900);
        const Block next = make_block(rig.heap, bytes, static_cast<std::uint64_t>(t) << 60 | step << 24);
        if (next.memory == nullptr) continue;
        if (block.memory != nullptr) {
          if (!block.right()) ++wrong;
          if (step % 4 == 0) {
            auto* const old = handed[static_cast<std::size_t>((t + 1) % kThreads)].exchange(new Block(block));
            if (old != nullptr) {
              if (!old->right()) ++wrong;
              rig.heap.free(old->memory);
              delete old;
            }
          } else {
            rig.heap.free(block.memory);
          }
        }
        block = next;
      }
      for (const auto& block : blocks) {
        if (block.memory != nullptr && !block.right()) ++wrong;
        rig.heap.free(block.memory);
      }
    });
  for (auto& thread : threads) thread.join();
  for (auto& slot : handed)
    if (Block* const block = slot.load()) {
      EXPECT_TRUE(block->right());
      rig.heap.free(block->memory);
      delete block;
    }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(rig.heap.stats().allocated, 0u);
}

}  // namespace
}  // namespace vmm
