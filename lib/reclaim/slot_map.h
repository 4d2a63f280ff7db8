// SlotMap: which slots (of kPageSize bytes) of a swap file are used, and the checksum of what each holds.
// Metadata: 8 bytes a slot, touched only for slots that have been used, and one bit a slot.
// Thread-safety: every function from any thread. allocate() and free() take a Mutex of rank slots;
// checksums and in_use() take none, so fault threads may read them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/mutex.h"
#include "os/mapping.h"
#include "vmm/result.h"

namespace vmm::reclaim {

struct SlotRun {
  std::uint64_t first = 0;
  std::uint32_t count = 0;

  bool operator==(const SlotRun&) const = default;
};

class SlotMap {
 public:
  // All slots free. slots == 0 is a map that is always full. It can grow to `capacity` slots (0: it cannot grow).
  // Errors: any errno of mmap.
  static Result<SlotMap> create(std::uint64_t slots, std::uint64_t capacity = 0);

  // More slots, free ones, up to its capacity. Nothing if it has as many.
  void grow(std::uint64_t slots) VMM_EXCLUDES(mutex_);

  // Moved only while no other thread uses either of the two; the moved-from map has no slots.
  SlotMap(SlotMap&& other) noexcept VMM_NO_THREAD_SAFETY_ANALYSIS;
  SlotMap& operator=(SlotMap&&) = delete;
  SlotMap(const SlotMap&) = delete;
  SlotMap& operator=(const SlotMap&) = delete;

  // Takes 1..want neighbouring free slots. If `preferred` is free the run begins there (page order is then slot
  // order in a file as large as its guest); else it is the longest of the runs looked at from where the last
  // search ended (next fit; the search is bounded). count 0: all slots are used, or want is 0.
  SlotRun allocate(std::uint64_t preferred, std::uint32_t want) VMM_EXCLUDES(mutex_);

  // Gives slots back. A slot that is free or out of range is a broken invariant.
  void free(std::uint64_t first, std::uint64_t count) VMM_EXCLUDES(mutex_);

  std::uint64_t slots() const noexcept { return slots_.load(std::memory_order_acquire); }
  std::uint64_t in_use() const noexcept { return in_use_.load(std::memory_order_relaxed); }

  // REQUIRES: slot < slots(). Set it before the page's word names the slot; a thread that read that word
  // (acquire) then reads this checksum. It stays until set again.
  void set_checksum(std::uint64_t slot, std::uint64_t sum) noexcept;
  std::uint64_t checksum(std::uint64_t slot) const noexcept;

 private:
  SlotMap(os::Mapping mapping, std::uint64_t slots, std::uint64_t capacity) noexcept;

  bool used_locked(std::uint64_t slot) const noexcept VMM_REQUIRES(mutex_);
  // First free slot at or after `from`; capacity_ if there is none.
  std::uint64_t next_free_locked(std::uint64_t from) const noexcept VMM_REQUIRES(mutex_);
  // The free run that begins at the free slot `first`, cut to `want`.
  SlotRun run_at_locked(std::uint64_t first, std::uint32_t want) const noexcept VMM_REQUIRES(mutex_);
  SlotRun search_locked(std::uint32_t want) const noexcept VMM_REQUIRES(mutex_);
  // Changes slots that are all in the other state.
  void mark_locked(std::uint64_t first, std::uint64_t count, bool used) noexcept VMM_REQUIRES(mutex_);

  std::uint64_t words() const noexcept { return (capacity_ + 63) / 64; }

  std::atomic<std::uint64_t> slots_;               // grows under mutex_
  std::uint64_t capacity_;                         // constant
  os::Mapping mapping_;                            // holds the three arrays below
  std::uint64_t* checksums_;                       // constant pointer; atomic access only
  std::uint64_t* used_ VMM_PT_GUARDED_BY(mutex_);  // a bit a slot: used, or past the end
  std::uint64_t* full_ VMM_PT_GUARDED_BY(mutex_);  // a bit a word of used_: all ones, or past the end
  std::atomic<std::uint64_t> in_use_{0};
  base::Mutex mutex_{base::LockRank::slots};
  std::uint64_t cursor_ VMM_GUARDED_BY(mutex_) = 0;  // where the next search begins
};

}  // namespace vmm::reclaim
