// SnapshotPages: what a child of fork() knows of the guest's pages that were not in memory at the fork, by its own copy
// of the page table: it finds the bytes in its copy of staging, or in the swap file, which both share.
//
// The kernel copies one area of a process after the other while its other threads go on. Nothing leaves memory
// meanwhile (GuestCore::Hold), and what a fault brings back moves between two areas before either is copied, or after
// both; what the copy of a word says is therefore where the page is, or it is in its place already, or the word is
// locked, and then both places are looked at. The parent goes on using the slots: what it has put over a page is told
// by the checksum, and the page is gone. Thread-safety: one thread, in a child.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "region/guest_memory.h"

namespace vmm::run {

class SnapshotPages {
 public:
  enum class Found : std::uint8_t { zeros, bytes, gone };

  explicit SnapshotPages(region::GuestMemory& guest) : guest_(guest) {}

  // Whether a page may hold something that is not in its place here.
  bool any_missing() const noexcept;
  // Of those, from `page` on: the first, or pages().
  std::uint64_t next_missing(std::uint64_t page) const noexcept;
  // `page` is not in its place here. `buffer`: a page, aligned to its size.
  Found fetch(std::uint64_t page, std::byte* buffer) const noexcept;

 private:
  bool staged_here(std::uint64_t page) const noexcept;
  bool read_slot(std::uint64_t page, region::PageWord word, std::byte* buffer) const noexcept;

  region::GuestMemory& guest_;
};

// Whether the page at `address` is in this process's memory, or in the kernel's swap.
bool is_present(const std::byte* address) noexcept;

}  // namespace vmm::run
