// ProgramMappings: which pages of the guest are mappings of the program's, beside those that its heap has, and what the
// program's calls to manage memory do with guest memory.
// Thread-safety: any thread. A lock is held while pages are pinned, dropped or copied; malloc does not take it.
// All functions return 0 or an errno, and change nothing where it is one. Addresses are page-aligned, as are sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

#include "pinned_ranges.h"

namespace vmm::run {

class ProgramMappings {
 public:
  // The process's.
  static ProgramMappings& of_process() noexcept;

  // New memory that reads as zero. nullptr: the guest is full.
  void* map(std::size_t bytes) noexcept;
  // Zeros in the place of what is mapped there: a MAP_FIXED of private, anonymous memory. EINVAL: not all of it is.
  int map_over(void* at, std::size_t bytes) noexcept;
  // What of it is mapped is no longer.
  int unmap(void* at, std::size_t bytes) noexcept;
  // `result` is where it is then. ENOMEM: no room, or not there and it may not move. EFAULT: not all of it is mapped.
  int remap(void* at, std::size_t from, std::size_t to, bool may_move, void*& result) noexcept;

  // Of any guest memory. Protected pages stay in memory, since the host could not take them and bring them back.
  int protect(void* at, std::size_t bytes, int protection) noexcept;
  // Reads as zero from now on.
  int drop(void* at, std::size_t bytes) noexcept;
  int lock(void* at, std::size_t bytes) noexcept;
  int unlock(void* at, std::size_t bytes) noexcept;
  void unlock_all() noexcept;

  // Bytes that are mapped.
  std::uint64_t mapped() noexcept;

 private:
  static GuestRange range_of(const void* at, std::size_t bytes) noexcept;
  bool all_mapped_locked(GuestRange range) const noexcept;
  void insert_locked(GuestRange range);
  int unmap_locked(GuestRange range);
  int unprotect_locked(GuestRange range);
  int drop_locked(GuestRange range) noexcept;

  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> mapped_;  // first byte to end; neighbours are one
  PinnedRanges protected_, locked_;
};

}  // namespace vmm::run
