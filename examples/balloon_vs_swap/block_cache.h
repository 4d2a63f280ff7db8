// BlockCache: blocks of a file in a vmm::Heap, the least recently used the first to go. It grows until the heap is full
// or its capacity is reached. Pressure lowers its capacity: what is given up for good is not given up again and again.
// Thread-safety: use() by one thread, the others by any.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory_resource>
#include <mutex>
#include <unordered_map>

#include "balloon_vs_swap/block_file.h"
#include "vmm/heap.h"

namespace balloon_vs_swap {

struct CacheFigures {
  std::uint64_t hits = 0, misses = 0;
  std::uint64_t wrong = 0;  // blocks that were not as in the file
  std::uint64_t bytes = 0;  // of the blocks kept
};

class BlockCache {
 public:
  // `capacity` in bytes. The heap and the file outlive it.
  BlockCache(vmm::Heap& heap, BlockFile& file, std::uint64_t capacity);
  ~BlockCache();
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // Finds the block, or reads it and keeps it, and looks at all of it.
  void use(std::uint64_t block);
  // Gives up that many bytes and a little more, and keeps within what is left from now on. Does not wait longer than
  // `patience` for use(), which may itself be waiting for the memory that the host wants.
  void shrink(std::uint64_t bytes, std::chrono::milliseconds patience);
  CacheFigures figures() const;

 private:
  struct Entry {
    std::uint64_t block;
    std::byte* bytes;
  };
  using Entries = std::pmr::list<Entry>;

  std::byte* room_locked();
  void drop_oldest_locked();

  vmm::Heap& heap_;
  BlockFile& file_;
  mutable std::timed_mutex mutex_;
  std::uint64_t capacity_;
  Entries entries_;  // the latest first
  std::pmr::unordered_map<std::uint64_t, Entries::iterator> index_;
  CacheFigures figures_;
};

}  // namespace balloon_vs_swap
