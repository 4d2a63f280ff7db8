// Share batch: neighbouring pages of one guest, each with its equal, as it seems: pages of guests of equal salt, or
// frames. They are gathered one after the other, locked; then all are isolated, so that nobody can write to them,
// compared byte by byte, and those that are equal show frames.
//
// The frames of pages follow each other as the guest's pages do, whatever their equals are: so one mapping shows them
// there. When mappings are scarce a long run has frames of its own also for pages that show others already ("doubles").
// Thread-safety: one thread, the worker of the node.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>

#include "os/drop_list.h"
#include "region/guest_memory.h"
#include "sharing/frame_notes.h"
#include "sharing/frame_stores.h"
#include "sharing/locked_pages.h"
#include "sharing/page_key.h"
#include "sharing/reading.h"

namespace vmm::sharing {

class ShareBatch {
 public:
  // Page `first` of the guest, or, without one, that frame of the store.
  struct Equal {
    region::GuestMemory* guest = nullptr;
    std::uint64_t first = 0;
  };
  enum class Added {
    yes,
    not_now,  // somebody has it locked, pinned, or the like
    never,    // they are not equal
  };

  // What it is given outlives it.
  ShareBatch(const FrameStores& stores, FrameStore& store, FrameNotes& notes) noexcept
      : stores_(stores), store_(store), notes_(notes) {}
  ~ShareBatch() { clear(); }
  ShareBatch(const ShareBatch&) = delete;
  ShareBatch& operator=(const ShareBatch&) = delete;

  // From page `first` of the guest on, of that salt with its keys, which outlive the batch, for the calling thread,
  // whose id is given. Parts of huge pages with `break_huge` only.
  void begin(region::GuestMemory& guest, std::uint64_t first, std::uint32_t salt, const PageKeys& keys, bool break_huge,
             int tid) noexcept;

  // The next page is locked, and read with next(); then it is added, or let go of. False: it cannot be shared now.
  bool lock_next() noexcept;
  const std::byte* next() const noexcept { return own_->at(own_->count() - 1); }
  void unlock_next() noexcept { own_->settle_from(own_->count() - 1); }
  // The locked page equals what follows the equal of the one before it.
  bool follow() noexcept;
  // It equals that one.
  Added add(Equal equal) noexcept;
  // How many pages before `equal` are equal to those before the locked page, which is the first; `most` at most.
  std::uint64_t equal_before(Equal equal, std::uint64_t most) noexcept;

  // What follows does not follow the equal of the last page any more. If mappings are not spent on so few pages as did,
  // they are let go of, and so many are returned.
  std::uint64_t end_piece() noexcept;
  std::uint64_t count() const noexcept { return own_ ? own_->count() : 0; }

  // What was gathered is shared, as far as may be, and counted; the batch is empty then.
  void share() noexcept;
  void clear() noexcept;

  // Grows when a page is to get a double.
  std::uint64_t doubles() const noexcept { return doubles_made_; }

 private:
  // Pages from own page first() + `at` on, whose equals follow each other, too.
  struct Piece {
    std::optional<LockedPages> pages;  // else frames, of which each has a reference for the page
    std::optional<Reading> reading;    // of the pages' guest, unless that is the batch's own
    std::uint64_t frame = 0;
    std::uint64_t at = 0, count = 0;
  };

  // The place of a huge page, and whether there is one, as last asked: of own pages, and of their equals.
  struct HugePlace {
    const region::GuestMemory* guest = nullptr;
    std::uint64_t number = 0;
    bool is_huge = false;
  };

  bool is_spared(HugePlace& place, region::GuestMemory& guest, std::uint64_t page) const noexcept;
  bool extend(Piece& piece) noexcept;
  bool take_along(Piece& piece) noexcept;
  void trim(Piece& piece, std::uint64_t count) noexcept;
  void begin_reading(std::optional<Reading>& reading, region::GuestMemory& guest) noexcept;
  bool is_equal_before(Equal equal, std::uint64_t count) noexcept;
  void drop_piece() noexcept;
  void compare(Piece& piece) noexcept;
  void share_frames(Piece& piece) noexcept;
  std::size_t share_pages(std::size_t first) noexcept;
  bool show(LockedPages& pages, FrameRun run) noexcept;
  region::ShareCounters& counts() const noexcept { return own_->guest().counters.share; }

  const FrameStores& stores_;
  FrameStore& store_;
  FrameNotes& notes_;
  std::optional<LockedPages> own_;
  std::optional<Reading> own_reading_;
  LockedPages::Words own_words_, words_;  // words_[i] is the word of the equal of own page i
  std::array<Piece, LockedPages::kMost> pieces_;
  std::size_t piece_count_ = 0;
  std::uint64_t own_first_ = 0;  // page, while its first pages are let go of
  std::uint32_t salt_ = 0;
  int tid_ = 0;
  bool break_huge_ = false;
  const PageKeys* keys_ = nullptr;
  os::DropList staged_;  // of pages that show frames, and are still locked
  std::bitset<LockedPages::kMost> doubles_;  // own pages, by number in the batch, that others' frames hold, too
  std::uint64_t doubles_made_ = 0;
  HugePlace own_place_, place_;
};

}  // namespace vmm::sharing
