// The life of a guest page: its states, which may follow which, and the 64-bit word that holds it.
//
//             first touch / fill                 take                     write done
//   native ----------------------> resident <----------> isolated ----------------------> swapped
//     |  adopt (already present)      |   ^     rescue       |  all zeros                   |  |
//     |                               |   |                  v                              |  | unreadable
//     +--------- discard ---------> empty +---- fill ----- empty <-------- discard ---------+  v
//                                     ^                                                       lost
//                                     +------------------------- discard ----------------------+
//
//   any but lost --- given by the balloon driver ---> ballooned --- touch ---> resident
//                                                         +--- deflate, discard ---> empty
//
// Every page has exactly one home:
//   native      the kernel's: resident or untouched. All pages of a guest that is not managed; in a managed
//               guest, pages that nobody has touched. Leaves: fault service, adoption, discard, balloon.
//   resident    in place, managed. Leaves: worker (take), discard, balloon, and the guest's return to native.
//   isolated    in staging, the source is missing. Leaves: fault service (rescue), worker (write), discard, balloon.
//   shared      a frame of a node's frame store, or, where the guest has written, a page of its own in that place.
//               Leaves: worker (hide), discard, balloon.
//   compressed  in the compression cache.
//   swapped     a slot of the guest's swap file. Leaves: fault service (swap-in), discard, balloon.
//   ballooned   nowhere: its owner has given it up; a touch supplies zeros and shrinks the balloon. Only in managed
//               guests. Leaves: fault service (pop), balloon (deflate), discard.
//   empty       nowhere: untouched, discarded or a dropped zero page; a touch supplies zeros. Leaves: fault service
//               (fill), balloon, and the guest's return to native.
//   lost        nowhere: its slot could not be read; a touch gets SIGBUS. Leaves: discard.
// Who changes a word holds its lock bit; nobody waits for I/O while holding it but the fault service, whose
// reads hold the words of the pages they bring.
#pragma once

#include <cstdint>

#include "vmm/units.h"

namespace vmm::region {

// Pages of 4 KiB in the place of a huge page.
inline constexpr std::uint64_t kPagesPerHuge = kHugePageSize / kPageSize;

enum class PageState : std::uint8_t {
  native,
  resident,
  isolated,
  shared,
  compressed,
  swapped,
  ballooned,
  empty,
  lost,
};

constexpr bool may_become(PageState from, PageState to) noexcept {
  using enum PageState;
  if (from == to) return true;
  switch (from) {
    case native: return to == resident || to == empty || to == ballooned;
    case resident: return to == isolated || to == empty || to == native || to == ballooned;
    case isolated:
      return to == resident || to == swapped || to == empty || to == shared || to == compressed || to == ballooned;
    case shared: return to == resident || to == empty || to == isolated || to == ballooned;
    case compressed: return to == resident || to == swapped || to == empty || to == lost;
    case swapped: return to == resident || to == empty || to == lost || to == ballooned;
    case ballooned: return to == resident || to == empty;
    case empty: return to == resident || to == native || to == ballooned;
    case lost: return to == empty;
  }
  return false;
}

static_assert(!may_become(PageState::native, PageState::isolated), "only managed pages leave their place");
static_assert(!may_become(PageState::resident, PageState::swapped), "a page is isolated before it is written");
static_assert(!may_become(PageState::swapped, PageState::isolated));
static_assert(!may_become(PageState::lost, PageState::resident), "lost bytes do not come back as zeros");
static_assert(!may_become(PageState::lost, PageState::ballooned), "a loss is not hidden by giving the page up");
static_assert(!may_become(PageState::ballooned, PageState::native), "a touch would not be seen");

// Whether the next touch of a page is to be noticed, to estimate how much memory is in use.
enum class Watch : std::uint8_t {
  none,
  page,   // of that page alone
  whole,  // all of its huge page is watched as one: a touch of any of it is a touch of all
};

// Bits 0-3 state, 4 lock, 5 pinned, 6 writing, 7 has_slot, 8-43 slot (256 TiB) or frame, 44-45 heat, 46 whole,
// 47 watched, 48-63 generation.
class PageWord {
 public:
  constexpr PageWord() noexcept = default;
  constexpr explicit PageWord(std::uint64_t raw) noexcept : raw_(raw) {}

  constexpr std::uint64_t raw() const noexcept { return raw_; }
  constexpr PageState state() const noexcept { return static_cast<PageState>(raw_ & 0xf); }
  constexpr bool locked() const noexcept { return (raw_ & kLocked) != 0; }
  // A Pin covers the page.
  constexpr bool pinned() const noexcept { return (raw_ & kPinned) != 0; }
  // Staging holds bytes of this page that are being written to the swap file. Stays set when the page is
  // rescued meanwhile, and keeps it from being taken again until the write has ended. Of a shared page: see broken().
  constexpr bool writing() const noexcept { return (raw_ & kWriting) != 0; }
  // slot() holds, or may hold, the page's bytes: always when swapped; otherwise if it was not written since.
  constexpr bool has_slot() const noexcept { return (raw_ & kHasSlot) != 0; }
  constexpr std::uint64_t slot() const noexcept { return (raw_ >> 8) & kSlotMask; }
  // Of a shared page, which has no slot: its number over all stores.
  constexpr std::uint64_t frame() const noexcept { return slot(); }
  // A sample of the memory in use. The next fault on the page ends that, and so do a prefetch and a huge page of zeros
  // that is put round it for a neighbour; whatever else becomes of the page does not. Such a page is missing; in memory
  // it is only after a failed write has put it back, and then a touch goes unnoticed.
  constexpr bool watched() const noexcept { return (raw_ & kWatched) != 0; }
  constexpr Watch watch() const noexcept {
    return !watched() ? Watch::none : (raw_ & kWhole) != 0 ? Watch::whole : Watch::page;
  }
  // How many visits of the evictor's hand the page stays for: what a fault has brought, or brought back, was in use.
  constexpr std::uint8_t heat() const noexcept { return static_cast<std::uint8_t>((raw_ >> 44) & 3); }
  // Counts the page's writes to the swap file; part of the slot's checksum.
  constexpr std::uint16_t generation() const noexcept { return static_cast<std::uint16_t>(raw_ >> 48); }

  constexpr PageWord with_state(PageState s) const noexcept {
    const auto raw = state() == PageState::empty ? raw_ & ~(kSlotMask << 8) : raw_;
    return PageWord((raw & ~0xfULL) | static_cast<std::uint64_t>(s));
  }
  constexpr PageWord with_lock(bool on) const noexcept { return with(kLocked, on); }
  constexpr PageWord with_pin(bool on) const noexcept { return with(kPinned, on); }
  constexpr PageWord with_writing(bool on) const noexcept { return with(kWriting, on); }
  constexpr PageWord with_watch(Watch w) const noexcept {
    return with(kWatched, w != Watch::none).with(kWhole, w == Watch::whole);
  }
  constexpr PageWord with_heat(std::uint8_t heat) const noexcept {
    return PageWord((raw_ & ~(3ULL << 44)) | static_cast<std::uint64_t>(heat & 3) << 44);
  }
  constexpr PageWord with_slot(std::uint64_t slot) const noexcept {
    return PageWord((raw_ & ~(kSlotMask << 8)) | (slot & kSlotMask) << 8 | kHasSlot);
  }
  // Shared, and found to have been written to since: a page of the guest's own, charged to it.
  constexpr bool broken() const noexcept { return state() == PageState::shared && writing(); }
  constexpr PageWord with_broken() const noexcept { return with_writing(true); }
  // Shared from now on.
  constexpr PageWord with_frame(std::uint64_t frame) const noexcept {
    return PageWord(without_slot().raw_ | (frame & kSlotMask) << 8).with_state(PageState::shared);
  }
  // Empty, for it held nothing but zeros when its memory was taken, and not touched since.
  constexpr bool dropped() const noexcept { return state() == PageState::empty && !has_slot() && slot() == kDropped; }
  constexpr PageWord with_dropped() const noexcept {
    return PageWord(without_slot().with_state(PageState::empty).raw_ | kDropped << 8);
  }
  constexpr PageWord without_slot() const noexcept { return PageWord(raw_ & ~((kSlotMask << 8) | kHasSlot)); }
  constexpr PageWord with_generation(std::uint16_t g) const noexcept {
    return PageWord((raw_ & ~(0xffffULL << 48)) | static_cast<std::uint64_t>(g) << 48);
  }

 private:
  static constexpr std::uint64_t kLocked = 1 << 4, kPinned = 1 << 5, kWriting = 1 << 6, kHasSlot = 1 << 7;
  static constexpr std::uint64_t kWhole = 1ULL << 46, kWatched = 1ULL << 47;
  static constexpr std::uint64_t kSlotMask = (1ULL << 36) - 1;
  static constexpr std::uint64_t kDropped = 1;  // in the place of a slot
  static_assert(((kSlotMask << 8) & (kWhole | kWatched | kHasSlot)) == 0);
  constexpr PageWord with(std::uint64_t bit, bool on) const noexcept {
    return PageWord(on ? raw_ | bit : raw_ & ~bit);
  }
  std::uint64_t raw_ = 0;
};

}  // namespace vmm::region
