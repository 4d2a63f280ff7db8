#include "reclaim/finish_pages.h"

#include "base/error.h"
#include "os/mapping.h"
#include "reclaim/swap_store.h"

namespace vmm::reclaim {

using region::bump;
using region::drop;
using region::GuestMemory;
using region::PageState;
using region::PageWord;

namespace {

using Words = std::array<PageWord, region::kMostTaken>;

bool is_isolated(PageWord word) noexcept { return word.state() == PageState::isolated; }

// The end of the stretch from `from` on for which is(i).
template <class Is>
std::uint32_t stretch(std::uint32_t from, std::uint32_t count, const Is& is) {
  while (from < count && is(from)) ++from;
  return from;
}

// The pages' bytes are no longer staged.
PageWord after(SwapStore& store, PageWord word, PageEnd end, std::uint64_t slot) {
  word = word.with_writing(false);
  if (!is_isolated(word)) {
    if (end == PageEnd::written) store.slots.free(slot, 1);
    return word;
  }
  if (end != PageEnd::kept && word.has_slot()) store.slots.free(word.slot(), 1);
  if (end == PageEnd::dropped) return word.without_slot().with_state(PageState::empty);
  if (end == PageEnd::written)
    word = word.with_slot(slot).with_generation(static_cast<std::uint16_t>(word.generation() + 1));
  return word.with_state(PageState::swapped);
}

}  // namespace

void finish_pages(GuestMemory& guest, std::uint64_t first, std::uint32_t count, const PageEnds& ends,
                  policy::ReclaimReason reason) {
  auto& table = guest.table;
  auto& store = SwapStore::of(guest);
  Words words;
  for (std::uint32_t i = 0; i < count; ++i) words[i] = table.lock(first + i);

  const auto goes_back = [&](std::uint32_t i) { return ends.end[i] == PageEnd::failed && is_isolated(words[i]); };
  const auto leaves = [&](std::uint32_t i) { return !goes_back(i); };
  std::uint64_t gone = 0;  // pages whose staged bytes are no longer needed
  std::uint64_t left = 0, swapped = 0;
  for (std::uint32_t from = 0; from < count;) {
    if (goes_back(from)) {
      const auto to = stretch(from, count, goes_back);
      int error = 0;
      const auto given = static_cast<std::uint32_t>(guest.isolator().give(guest, first + from, to - from, error));
      drop(guest.counters.staging, given);
      store.stranded |= given < to - from;
      for (auto i = from; i < to; ++i) {
        words[i] = words[i].with_writing(false);
        if (i < from + given) words[i] = words[i].with_state(PageState::resident);
      }
      from = to;
      continue;
    }
    const auto to = stretch(from, count, leaves);
    const int error = os::drop_pages(guest.staged(first + from), (to - from) * kPageSize);
    const bool dropped = error == 0;
    if (dropped) gone += to - from;
    // What the kernel will never drop is not written again and again.
    else store.stranded |= base::may_pass(error);
    for (auto i = from; i < to; ++i) {
      if (!dropped) {
        // The kernel keeps the staged pages: isolated ones stay so and can be rescued; copies of rescued ones
        // stay marked, which keeps their places in staging from being used again.
        if (ends.end[i] == PageEnd::written) store.slots.free(ends.slot[i], 1);
        if (is_isolated(words[i])) words[i] = words[i].with_writing(false);
        continue;
      }
      const bool leaves_memory = is_isolated(words[i]);
      words[i] = after(store, words[i], ends.end[i], ends.slot[i]);
      left += leaves_memory ? 1 : 0;
      swapped += leaves_memory && words[i].state() == PageState::swapped ? 1 : 0;
    }
    from = to;
  }
  bump(guest.counters.freed, left);
  bump(guest.counters.freed_for[static_cast<std::size_t>(reason)], left);
  bump(guest.counters.swapped, swapped);
  bump(guest.counters.swapped_out, swapped);
  for (std::uint32_t i = 0; i < count; ++i) table.unlock(first + i, words[i]);
  table.released();
  drop(guest.counters.staging, gone);
  guest.uncharge(gone);
}

}  // namespace vmm::reclaim
