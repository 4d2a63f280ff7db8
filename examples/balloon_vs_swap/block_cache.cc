#include "balloon_vs_swap/block_cache.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace balloon_vs_swap {
namespace {

constexpr std::uint64_t kBlock = BlockFile::kBlock;
// The entries and the index take memory too, which comes back with their blocks, but not page by page.
constexpr std::uint64_t kLeastGiven = 32 * kBlock;

}  // namespace

BlockCache::BlockCache(vmm::Heap& heap, BlockFile& file, std::uint64_t capacity)
    : heap_(heap), file_(file), capacity_(capacity), entries_(&heap.resource()), index_(&heap.resource()) {
  index_.reserve(std::min(file.blocks(), capacity / kBlock) + 1);  // it would need twice the room to grow
}

BlockCache::~BlockCache() {
  for (const Entry& entry : entries_) heap_.free(entry.bytes);
}

void BlockCache::use(std::uint64_t block) {
  const std::lock_guard<std::timed_mutex> lock(mutex_);
  const auto found = index_.find(block);
  if (found != index_.end()) {
    ++figures_.hits;
    entries_.splice(entries_.begin(), entries_, found->second);
    if (!BlockFile::right(found->second->bytes, block)) ++figures_.wrong;
    return;
  }
  ++figures_.misses;
  const std::byte* const read = file_.read(block);
  if (!BlockFile::right(read, block)) ++figures_.wrong;
  std::byte* const bytes = room_locked();
  if (bytes == nullptr) return;  // not even one fits: it is not kept
  std::memcpy(bytes, read, kBlock);
  try {
    entries_.push_front({block, bytes});
  } catch (const std::bad_alloc&) {
    heap_.free(bytes);
    return;
  }
  try {
    index_.emplace(block, entries_.begin());
  } catch (const std::bad_alloc&) {
    entries_.pop_front();
    heap_.free(bytes);
    return;
  }
  figures_.bytes += kBlock;
}

// Memory for a block, in the place of others where there is none left.
std::byte* BlockCache::room_locked() {
  for (;;) {
    while (figures_.bytes + kBlock > capacity_ && !entries_.empty()) drop_oldest_locked();
    if (auto* const bytes = static_cast<std::byte*>(heap_.allocate(kBlock, vmm::kPageSize))) return bytes;
    if (entries_.empty()) return nullptr;
    // The heap is full: this is all there is, less a little for the entries. Trying it each time would cost more.
    capacity_ = figures_.bytes - std::min(figures_.bytes, kLeastGiven);
  }
}

void BlockCache::drop_oldest_locked() {
  figures_.bytes -= kBlock;
  heap_.free(entries_.back().bytes);
  index_.erase(entries_.back().block);
  entries_.pop_back();
}

void BlockCache::shrink(std::uint64_t bytes, std::chrono::milliseconds patience) {
  const std::unique_lock<std::timed_mutex> lock(mutex_, patience);
  if (!lock) return;
  const std::uint64_t goal = bytes + std::max(bytes / 64, kLeastGiven);
  capacity_ = figures_.bytes - std::min(figures_.bytes, goal);
  while (figures_.bytes > capacity_) drop_oldest_locked();
}

CacheFigures BlockCache::figures() const {
  const std::lock_guard<std::timed_mutex> lock(mutex_);
  return figures_;
}

}  // namespace balloon_vs_swap
