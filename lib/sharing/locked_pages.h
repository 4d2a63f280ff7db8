// Locked pages: neighbouring pages of one guest whose words are locked, [first, first + count): a run that grows at both
// ends, is taken out of the guest, and shared or given back. What is left in it at its end is given back and unlocked.
// Thread-safety: one thread, the guest's worker, which only tries locks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "region/guest_memory.h"

namespace vmm::sharing {

struct LockedPages {
  // So many at most, so that whoever wants one of them does not wait long.
  static constexpr std::uint64_t kMost = 256;

  // None is locked yet. `spare_huge`: pages of huge pages will not be.
  LockedPages(region::GuestMemory& g, std::uint64_t page, bool spare_huge = false) noexcept;
  ~LockedPages() { give_back(0); }
  LockedPages(const LockedPages&) = delete;
  LockedPages& operator=(const LockedPages&) = delete;

  region::PageWord* words() noexcept { return all.data() + begin; }
  std::byte* at(std::uint64_t i) const noexcept { return guest.at(first + i); }
  std::byte* staged(std::uint64_t i) const noexcept { return guest.staged(first + i); }

  // One page more, after the last (onwards) or before the first, if its word may be and is not locked.
  template <class May>
  bool lock_end(bool onwards, May&& may) noexcept {
    if (count == kMost) return false;
    if (onwards) {
      if (first + count == guest.pages() || !lock(first + count, may, words()[count])) return false;
    } else {
      if (first == 0 || begin == 0 || !lock(first - 1, may, all[begin - 1])) return false;
      --begin;
      --first;
    }
    ++count;
    return true;
  }
  // One page less, at that end.
  void unlock_end(bool onwards) noexcept;
  // Grows at one end to `most` pages while they match: matches(i) is asked of each, once it is locked. Nothing where
  // there is no page to begin with backwards.
  template <class May, class Matches>
  void extend(bool onwards, std::uint64_t most, May&& may, Matches&& matches) noexcept {
    if (!onwards && count == 0) return;
    while (count < most && lock_end(onwards, may)) {
      if (matches(onwards ? count - 1 : 0)) continue;
      unlock_end(onwards);
      return;
    }
  }

  // Into staging; what comes after the first page that the kernel keeps is given back.
  void isolate() noexcept;
  // Pages [from, count) are unlocked, in their places if they were taken out of them.
  void give_back(std::uint64_t from) noexcept;

  region::GuestMemory& guest;
  std::uint64_t first, count = 0;

 private:
  template <class May>
  bool lock(std::uint64_t page, May&& may, region::PageWord& word) noexcept {
    if (const auto glimpse = guest.table.load(page); glimpse.locked() || !may(glimpse)) return false;
    if (is_spared(page)) return false;
    const auto locked = guest.table.try_lock(page);
    if (!locked) return false;
    if (may(*locked)) {
      word = *locked;
      return true;
    }
    guest.table.unlock(page, *locked);
    guest.table.released();
    return false;
  }
  bool is_spared(std::uint64_t page) const noexcept;

  std::uint64_t seen_from = 0, seen = 0;  // pages of which it is known whether they are huge
  std::array<std::uint8_t, 2 * kMost> bits;
  std::size_t begin = kMost;  // of the words in use
  std::array<region::PageWord, 2 * kMost> all;
};

}  // namespace vmm::sharing
