// HeapRig: a guest with a heap in it, and the part of the host that asks its balloon driver.
// Thread-safety: one thread, but for the heap itself.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/host_rig.h"
#include "support/kernel_view.h"
#include "vmm/heap.h"

namespace vmm::test {

class HeapRig {
 public:
  explicit HeapRig(const Way& way, std::uint64_t bytes = 32 * MiB, const HeapOptions& options = {})
      : host(way), guest(host.add("heap", bytes / kPageSize)) {
    auto made = Heap::create(guest, options);
    EXPECT_TRUE(made) << made.error().message();
    if (made) heap = std::move(*made);
    driver = heap.balloon_driver();
  }

  bool inside(const void* memory, std::size_t bytes) const {
    const auto span = guest.memory();
    const auto* first = static_cast<const std::byte*>(memory);
    return first >= span.data() && first + bytes <= span.data() + span.size();
  }
  std::uint64_t resident() const {
    return resident_pages(guest.memory().data(), guest.memory().size() / kPageSize) * kPageSize;
  }

  // Drops what was given as the host does; pinned pages are refused, and handed back.
  void drop(const std::vector<BalloonRange>& ranges) {
    std::vector<BalloonRange> refused;
    for (const auto& range : ranges) {
      if (guest.discard(range.offset, range.bytes)) continue;
      for (std::uint64_t at = range.offset; at < range.offset + range.bytes; at += kPageSize)
        if (!guest.discard(at, kPageSize)) refused.push_back({at, kPageSize});
    }
    if (!refused.empty()) driver->deflate(refused);
  }
  // Asks for memory and drops what is given. Returns the bytes given.
  std::uint64_t balloon(std::uint64_t bytes) {
    const auto ranges = driver->inflate(bytes);
    drop(ranges);
    return sum(ranges);
  }
  static std::uint64_t sum(const std::vector<BalloonRange>& ranges) {
    std::uint64_t total = 0;
    for (const auto& range : ranges) total += range.bytes;
    return total;
  }

  HostRig host;
  Guest guest;
  Heap heap;
  std::shared_ptr<BalloonDriver> driver;
};

// An allocation that is filled with words that follow from `id`, so that a wrong one is found.
struct Block {
  void* memory = nullptr;
  std::size_t bytes = 0;
  std::uint64_t id = 0;

  void fill() const {
    auto* to = static_cast<std::byte*>(memory);
    for (std::size_t at = 0; at < bytes; at += 8) {
      const std::uint64_t word = scramble(id + at);
      std::memcpy(to + at, &word, std::min<std::size_t>(8, bytes - at));
    }
  }
  bool right() const {
    const auto* from = static_cast<const std::byte*>(memory);
    for (std::size_t at = 0; at < bytes; at += 8) {
      const std::uint64_t word = scramble(id + at);
      if (std::memcmp(from + at, &word, std::min<std::size_t>(8, bytes - at)) != 0) return false;
    }
    return true;
  }
};

inline Block make_block(Heap& heap, std::size_t bytes, std::uint64_t id) {
  Block block{heap.allocate(bytes), bytes, id};
  if (block.memory != nullptr) block.fill();
  return block;
}

// Blocks of that size until the heap is full.
inline std::vector<Block> fill_heap(Heap& heap, std::size_t bytes) {
  std::vector<Block> blocks;
  for (;;) {
    const auto block = make_block(heap, bytes, blocks.size() << 32);
    if (block.memory == nullptr) return blocks;
    blocks.push_back(block);
  }
}

}  // namespace vmm::test
