#include "reclaim/discard.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/error.h"
#include "reclaim/swap_store.h"

namespace vmm::reclaim {

using region::drop;
using region::GuestMemory;
using region::PageState;
using region::PageWord;

namespace {

constexpr std::uint64_t kBatch = 512;

enum class Place { guest, staging, nowhere };

// Where bytes of the page are that have to be dropped.
Place place_of(PageWord w) noexcept {
  switch (w.state()) {
    case PageState::native:
    case PageState::resident:
    case PageState::lost: return Place::guest;
    // While it is being written the device reads the staged page; the writer drops it.
    case PageState::isolated: return w.writing() ? Place::nowhere : Place::staging;
    default: return Place::nowhere;
  }
}

// All words of [first, first + count) are locked. Returns an errno; `done` pages were discarded.
int discard_locked(GuestMemory& guest, std::uint64_t first, std::uint64_t count, PageWord* words,
                   std::uint64_t& done) noexcept {
  std::uint64_t uncharged = 0;
  int error = 0;
  for (done = 0; done < count && error == 0;) {
    const auto place = place_of(words[done]);
    const bool lost = words[done].state() == PageState::lost;
    auto end = done + 1;
    while (end < count && place_of(words[end]) == place && (words[end].state() == PageState::lost) == lost) ++end;
    const auto bytes = (end - done) * kPageSize;
    if (place == Place::guest) error = os::drop_pages(guest.at(first + done), bytes);
    if (place == Place::staging) error = os::drop_pages(guest.staged(first + done), bytes);
    // Where a lost page could not be poisoned it was made inaccessible instead.
    if (lost && error == 0) error = os::make_accessible(guest.at(first + done), bytes);
    if (error != 0) break;
    for (; done < end; ++done) {
      auto& w = words[done];
      if (w.state() == PageState::resident) ++uncharged;
      if (w.state() == PageState::isolated && !w.writing()) {
        ++uncharged;
        drop(guest.counters.staging);
      }
      if (w.state() == PageState::swapped) drop(guest.counters.swapped);
      if (w.state() == PageState::lost) drop(guest.counters.lost);
      if (w.has_slot()) SwapStore::of(guest).slots.free(w.slot(), 1);
      w = w.without_slot().with_state(PageState::empty);
    }
  }
  guest.uncharge(uncharged);
  return error;
}

}  // namespace

Result<void> discard(GuestMemory& guest, region::Pins& pins, std::uint64_t first, std::uint64_t pages) {
  const auto failed = [&](int error) {
    return base::fail_errno(error, "madvise(MADV_DONTNEED) of guest \"" + guest.name() + "\"",
                            "the kernel refuses to drop these pages");
  };
  {
    base::MutexLock control(guest.control);
    if (!guest.managed()) {
      base::MutexLock lock(pins.mutex());
      if (pins.any_locked(first, pages))
        return base::fail(Errc::pages_pinned, "discard of guest \"" + guest.name() + "\"", "release the pins first");
      if (const int e = os::drop_pages(guest.at(first), pages * kPageSize)) return failed(e);
      return {};
    }
  }
  base::MutexLock lock(pins.mutex());
  if (pins.any_locked(first, pages))
    return base::fail(Errc::pages_pinned, "discard of guest \"" + guest.name() + "\"", "release the pins first");
  std::array<PageWord, kBatch> words;
  for (std::uint64_t at = 0; at < pages; at += kBatch) {
    const auto count = std::min(kBatch, pages - at);
    for (std::uint64_t i = 0; i < count; ++i) words[i] = guest.table.lock(first + at + i);
    std::uint64_t done = 0;
    const int error = discard_locked(guest, first + at, count, words.data(), done);
    for (std::uint64_t i = 0; i < count; ++i) guest.table.unlock(first + at + i, words[i]);
    guest.table.released();
    if (error != 0) return failed(error);
  }
  return {};
}

}  // namespace vmm::reclaim
