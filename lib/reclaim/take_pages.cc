#include "reclaim/take_pages.h"

#include "reclaim/swap_store.h"
#include "region/isolator.h"

namespace vmm::reclaim {

using region::GuestMemory;
using region::PageState;
using region::PageWord;
using region::Watch;

TakenPages take_pages(GuestMemory& guest, std::uint64_t first, std::uint64_t count, const std::uint8_t* bits,
                      const PageWord* words, Watch watch) {
  region::TakenSet taken;
  const int error = guest.isolator().take(guest, first, count, taken);
  // What the kernel had swapped out moved as it was. The worker reads it back, so that no fault thread has to.
  for (std::uint64_t i = 0; i < count; ++i)
    if (taken[i] && (bits[i] & os::kSwapped) != 0)
      static_cast<void>(*const_cast<const volatile std::byte*>(guest.staged(first + i)));
  // Before the words say so: a fault thread may rescue them at once.
  region::bump(guest.counters.staging, taken.count());
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!taken[i]) {
      guest.table.unlock(first + i, words[i]);
      continue;
    }
    auto word = words[i].with_state(PageState::isolated);
    if (watch != Watch::none) word = word.with_watch(watch);
    if (word.has_slot() && (bits[i] & os::kWritten) != 0) {
      // Written since it was read back: the slot is stale.
      SwapStore::of(guest).slots.free(word.slot(), 1);
      word = word.without_slot();
    }
    guest.table.unlock(first + i, word);
  }
  guest.table.released();
  return {taken.count(), error};
}

}  // namespace vmm::reclaim
