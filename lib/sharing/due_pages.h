// Due pages: which pages of a guest are to be looked at: those that were written since they were looked at last, as the
// kernel's write tracking tells, and those of which it does not tell.
//
// Before a page is looked at it is write-protected without a fault for the library to answer (WP_ASYNC): the kernel
// lets the next write in by itself, and notes it. A page that has a slot in the swap file is not: there the same note
// tells whether the slot still holds what the page does. Nor are huge pages. Where the kernel has no such tracking
// (Linux < 6.7), all pages are due each time.
// Thread-safety: one thread, the guest's worker.
#pragma once

#include <bitset>
#include <cstdint>
#include <vector>

#include "region/guest_memory.h"
#include "region/isolator.h"

namespace vmm::sharing {

class DuePages {
 public:
  static constexpr std::uint64_t kMost = region::kMostTaken;

  // Throws std::bad_alloc. All pages are due.
  explicit DuePages(region::GuestMemory& guest);

  // Finds those among [first, first + count), count <= kMost, which it may take. Where the kernel does not tell, none
  // is.
  void find(std::uint64_t first, std::uint64_t count) noexcept;
  // Of the pages that find() was asked for, from first() on.
  std::uint64_t first() const noexcept { return first_; }
  bool due(std::uint64_t page) const noexcept { return due_[page - first_]; }
  bool huge(std::uint64_t page) const noexcept { return huge_[page - first_]; }

  // The page has been looked at since: it is due again when it is written.
  void done(std::uint64_t page) noexcept;
  // All pages that are in memory have been looked at, and none is due before it is written.
  bool all_done() const noexcept;
  // All pages are due, whatever was done.
  void forget() noexcept;

 private:
  bool is_done(std::uint64_t page) const noexcept { return (done_[page / 64] >> page % 64 & 1) != 0; }
  void undo(std::uint64_t page) noexcept { done_[page / 64] &= ~(std::uint64_t{1} << page % 64); }
  void arm(std::uint64_t begin, std::uint64_t end, const std::uint8_t* written) noexcept;

  region::GuestMemory& guest_;
  const bool tracks_;
  std::vector<std::uint64_t> done_;  // a bit a page
  std::uint64_t first_ = 0;
  std::bitset<kMost> due_, huge_;
};

}  // namespace vmm::sharing
