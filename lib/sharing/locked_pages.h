// Locked pages: neighbouring pages of one guest whose words are locked, [first(), first() + count()): a run that grows
// at its end, is taken out of the guest, and shared or given back. What is left in it at its end is given back and
// unlocked.
// Thread-safety: one thread, the guest's worker, which only tries locks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "region/guest_memory.h"

namespace vmm::sharing {

class LockedPages {
 public:
  // So many at most, so that whoever wants one of them does not wait long.
  static constexpr std::uint64_t kMost = 256;
  using Words = std::array<region::PageWord, kMost>;

  // None is locked yet. `words` is where theirs are kept, as many as may be locked; it outlives this.
  LockedPages(region::GuestMemory& guest, std::uint64_t first, std::span<region::PageWord> words) noexcept
      : guest_(&guest), words_(words), first_(first) {}
  ~LockedPages() { settle_from(0); }
  LockedPages(const LockedPages&) = delete;
  LockedPages& operator=(const LockedPages&) = delete;

  region::GuestMemory& guest() const noexcept { return *guest_; }
  std::uint64_t first() const noexcept { return first_; }
  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t end() const noexcept { return first_ + count_; }  // page after the last
  bool full() const noexcept { return count_ == words_.size(); }
  // Of page first() + i: changed, and not yet unlocked.
  region::PageWord* words() const noexcept { return words_.data(); }
  std::byte* at(std::uint64_t i) const noexcept { return guest_->at(first_ + i); }
  std::byte* staged(std::uint64_t i) const noexcept { return guest_->staged(first_ + i); }

  // One page more, after the last, if its word may be and is not locked.
  template <class May>
  bool lock_next(May&& may) noexcept {
    const auto page = end();
    if (full() || page == guest_->pages()) return false;
    if (const auto glimpse = guest_->table.load(page); glimpse.locked() || !may(glimpse)) return false;
    const auto locked = guest_->table.try_lock(page);
    if (!locked) return false;
    if (may(*locked)) {
      words_[count_++] = *locked;
      return true;
    }
    guest_->table.unlock(page, *locked);
    guest_->table.released();
    return false;
  }

  // Into staging; what comes after the first page that the kernel keeps is given back.
  void isolate() noexcept;
  // The first so many, or those from `from` on, are let go of: unlocked, in their places if they were taken out.
  void settle_front(std::uint64_t count) noexcept;
  void settle_from(std::uint64_t from) noexcept;

 private:
  void settle(std::uint64_t from, std::uint64_t to) noexcept;

  region::GuestMemory* guest_;
  std::span<region::PageWord> words_;
  std::uint64_t first_, count_ = 0;
};

}  // namespace vmm::sharing
