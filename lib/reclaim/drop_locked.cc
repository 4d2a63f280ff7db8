#include "reclaim/drop_locked.h"

#include "reclaim/swap_store.h"
#include "sharing/guest_frames.h"

namespace vmm::reclaim {

using region::drop;
using region::GuestMemory;
using region::PageState;
using region::PageWord;

namespace {

enum class Place { guest, staging, frame, nowhere };

// Where bytes of the page are that have to be dropped.
Place place_of(PageWord w) noexcept {
  switch (w.state()) {
    case PageState::native:
    case PageState::resident:
    case PageState::lost: return Place::guest;
    // While it is being written the device reads the staged page; the writer drops it.
    case PageState::isolated: return w.writing() ? Place::nowhere : Place::staging;
    case PageState::shared: return Place::frame;
    default: return Place::nowhere;
  }
}

}  // namespace

Dropped drop_locked(GuestMemory& guest, std::uint64_t first, std::uint64_t count, PageWord* words,
                    PageState becomes) noexcept {
  Dropped dropped;
  auto& done = dropped.pages;
  while (done < count) {
    const auto place = place_of(words[done]);
    const bool lost = words[done].state() == PageState::lost;
    auto end = done + 1;
    while (end < count && place_of(words[end]) == place && (words[end].state() == PageState::lost) == lost) ++end;
    const auto bytes = (end - done) * kPageSize;
    if (place == Place::guest) dropped.error = os::drop_pages(guest.at(first + done), bytes);
    if (place == Place::staging) dropped.error = os::drop_pages(guest.staged(first + done), bytes);
    if (place == Place::frame)
      dropped.error = sharing::GuestFrames::of(guest).drop(first + done, end - done, words + done);
    // Where a lost page could not be poisoned it was made inaccessible instead.
    if (lost && dropped.error == 0) dropped.error = os::make_accessible(guest.at(first + done), bytes);
    if (dropped.error != 0) break;
    for (; done < end; ++done) {
      auto& w = words[done];
      if (w.state() == PageState::resident) ++dropped.freed;
      if (w.state() == PageState::isolated && !w.writing()) {
        ++dropped.freed;
        drop(guest.counters.staging);
      }
      if (w.state() == PageState::swapped) drop(guest.counters.swapped);
      if (w.state() == PageState::lost) drop(guest.counters.lost);
      if (w.state() == PageState::ballooned) drop(guest.counters.ballooned);
      if (w.has_slot()) SwapStore::of(guest).slots.free(w.slot(), 1);
      w = w.without_slot().with_state(becomes);
    }
  }
  guest.uncharge(dropped.freed);
  return dropped;
}

}  // namespace vmm::reclaim
