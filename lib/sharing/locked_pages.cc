#include "sharing/locked_pages.h"

#include <algorithm>

#include "os/pagemap.h"
#include "region/isolator.h"

namespace vmm::sharing {

using region::bump;
using region::PageState;

LockedPages::LockedPages(region::GuestMemory& g, std::uint64_t page, bool spare_huge) noexcept : guest(g), first(page) {
  if (!spare_huge || !g.options().large_pages) return;
  seen_from = page - std::min(page, kMost);
  seen = std::min<std::uint64_t>(bits.size(), g.pages() - seen_from);
  // What is not known counts as huge.
  if (g.pagemap().bits(g.at(seen_from), seen, bits.data()) != 0) bits.fill(os::kHuge);
}

bool LockedPages::is_spared(std::uint64_t page) const noexcept {
  return seen != 0 && (page - seen_from >= seen || (bits[page - seen_from] & os::kHuge) != 0);
}

void LockedPages::unlock_end(bool onwards) noexcept {
  --count;
  const auto page = onwards ? first + count : first;
  guest.table.unlock(page, words()[page - first]);
  guest.table.released();
  if (onwards) return;
  ++begin;
  ++first;
}

void LockedPages::isolate() noexcept {
  region::TakenSet taken;
  if (count == 0) return;
  static_cast<void>(guest.isolator().take(guest, first, count, taken));
  bump(guest.counters.staging, taken.count());
  std::uint64_t leading = count;
  for (auto i = count; i-- > 0;) {
    if (!taken[i]) {
      leading = i;
      continue;
    }
    auto& word = words()[i];
    // Nobody could tell any more whether it has been written since.
    if (word.has_slot()) guest.backing->free_slot(word.slot());
    word = word.without_slot().with_state(PageState::isolated);
    guest.table.change(first + i, word);
  }
  give_back(leading);
}

void LockedPages::give_back(std::uint64_t from) noexcept {
  for (auto i = from; i < count;) {
    if (words()[i].state() != PageState::isolated) {
      ++i;
      continue;
    }
    auto end = i;
    while (end < count && words()[end].state() == PageState::isolated) ++end;
    int error = 0;
    const auto given = guest.isolator().give(guest, first + i, end - i, error);
    region::drop(guest.counters.staging, given);
    for (const auto until = i + given; i < until; ++i) words()[i] = words()[i].with_state(PageState::resident);
    if (i == end) continue;
    // It is rescued from staging when it is touched, or found there by the worker.
    if (guest.backing) guest.backing->left_in_staging();
    ++i;
  }
  for (auto i = from; i < count; ++i) guest.table.unlock(first + i, words()[i]);
  if (from < count) guest.table.released();
  count = from;
}

}  // namespace vmm::sharing
