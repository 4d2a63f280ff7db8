// HeapCore: what Heap, its memory resource and its balloon driver share: the arena, the guest's pages, and the gate
// that lets the driver's calls end before the heap does.
// Ownership: the Heap holds it, and a driver's call while it runs; the driver itself only knows where it was.
// Thread-safety: any thread. No lock is held while on_pressure runs or the guest is called.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <vector>

#include "base/mutex.h"
#include "heap/guest_extents.h"
#include "host/gate.h"
#include "vmm/balloon.h"
#include "vmm/heap.h"

namespace vmm {

class HeapCore final : public std::pmr::memory_resource {
 public:
  // Errors as of Heap::create.
  static Result<std::shared_ptr<HeapCore>> create(Guest& guest, const HeapOptions& options);
  HeapCore(Guest& guest, const HeapOptions& options);
  ~HeapCore() override;
  HeapCore(const HeapCore&) = delete;
  HeapCore& operator=(const HeapCore&) = delete;

  // What is returned holds anything, or zeros.
  enum class Fill : std::uint8_t { any, zeros };
  void* allocate_bytes(std::size_t bytes, std::size_t alignment, Fill fill = Fill::any) noexcept;
  // Makes an allocation larger or smaller where it is. False: it is as it was.
  bool resize(void* memory, std::size_t bytes) noexcept;
  void free(void* memory) noexcept;

  // Whole pages beside the arena's, which read as zero; sizes in bytes, multiples of kPageSize, as is the alignment,
  // a power of two. nullptr: full. Blocks as allocate_bytes().
  void* allocate_pages(std::size_t bytes, std::size_t alignment) noexcept;
  // Just these, if they are all free. Does not wait.
  bool allocate_pages_at(void* memory, std::size_t bytes) noexcept;
  // Any of them, not only what was allocated at once. False: no memory for the tables; they stay allocated.
  bool free_pages(void* memory, std::size_t bytes) noexcept;
  std::size_t usable_size(const void* memory) const noexcept;
  HeapStats stats() const;

  // What the balloon driver does.
  std::vector<BalloonRange> inflate(std::uint64_t bytes);
  void deflate(const std::vector<BalloonRange>& ranges);

  // Returns when the former one is not running.
  void on_pressure(std::function<void(std::uint64_t)> callback) noexcept;

  // No call of the driver is inside any more when this returns, the caller's own excepted; later ones do nothing.
  void end() noexcept;
  bool in_child() const noexcept;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override;
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }

  void* allocate_when_full(std::size_t bytes, int flags) noexcept;
  // Tries again after the arena was purged, and while pages are regained.
  template <class Allocate>
  void* allocate_after_purge(std::size_t bytes, Allocate&& allocate) noexcept;
  bool regain(std::uint64_t pages) noexcept;
  void settle() noexcept;
  // False: there is nobody to ask.
  bool press(std::uint64_t bytes) noexcept;

  Guest& guest_;
  const std::uint64_t born_;  // os::fork_count()
  heap::GuestExtents extents_;
  unsigned arena_ = 0;
  bool has_arena_ = false;
  host::Gate gate_;
  std::atomic<bool> ended_{false};
  base::Mutex pressure_mutex_{base::LockRank::leaf};
  base::CondVar pressure_ended_;
  unsigned pressing_ VMM_GUARDED_BY(pressure_mutex_) = 0;  // calls under way; while there are any, it is not replaced
  std::function<void(std::uint64_t)> on_pressure_;         // read with the mutex held or a call counted
  std::atomic<std::uint64_t> pressure_calls_{0}, pressure_failures_{0};
  base::Mutex pins_mutex_{base::LockRank::leaf};
  std::vector<Pin> pins_ VMM_GUARDED_BY(pins_mutex_);  // over what was regained, until the host has dealt with it
};

}  // namespace vmm
