#include "reclaim/balloon_pages.h"

#include <algorithm>
#include <array>
#include <optional>
#include <thread>

#include "base/check.h"
#include "reclaim/drop_locked.h"

namespace vmm::reclaim {

using region::bump;
using region::drop;
using region::GuestMemory;
using region::PageState;
using region::PageTable;
using region::PageWord;

namespace {

bool is_ballooned(PageWord w) noexcept { return w.state() == PageState::ballooned; }
bool may_be_given(PageWord w) noexcept { return !w.pinned() && may_become(w.state(), PageState::ballooned); }

// The page's lock, if the page may be given. Not waited for while the page is being read: somebody wants it.
std::optional<PageWord> lock_to_give(PageTable& table, std::uint64_t page) noexcept {
  for (int spins = 0;; ++spins) {
    const auto glimpse = table.load(page);
    if (!may_be_given(glimpse) || is_ballooned(glimpse)) return std::nullopt;
    if (glimpse.locked() && glimpse.state() == PageState::swapped) return std::nullopt;
    const auto word = table.try_lock(page);
    if (!word) {
      if (spins > 64) std::this_thread::yield();
      continue;
    }
    if (may_be_given(*word) && !is_ballooned(*word)) return word;
    table.unlock(page, *word);
    return std::nullopt;
  }
}

}  // namespace

Given give(GuestMemory& guest, std::uint64_t first, std::uint64_t count, std::uint64_t most) noexcept {
  VMM_CHECK(count <= kMostGiven && first + count <= guest.pages());
  auto& table = guest.table;
  Given given;
  std::array<PageWord, kMostGiven> words;
  // Held so that the guest stays managed meanwhile.
  base::MutexLock control(guest.control);
  const bool can = guest.adopted() && !guest.is_shut();
  std::uint64_t accepted = 0;
  for (std::uint64_t at = 0; can && at < count && accepted < most;) {
    auto end = at;
    for (; end < count && end - at < most - accepted; ++end) {
      const auto word = lock_to_give(table, first + end);
      if (!word) break;
      words[end] = *word;
    }
    if (end == at) {
      table.released();  // what was only looked at: a fault may have met its lock
      ++at;
      continue;
    }
    const auto dropped = drop_locked(guest, first + at, end - at, words.data() + at, PageState::ballooned);
    // Before the words say so: a touch takes it away again.
    bump(guest.counters.ballooned, dropped.pages);
    for (auto i = at; i < end; ++i) {
      if (i < at + dropped.pages) given.accepted.set(i);
      table.unlock(first + i, words[i]);
    }
    table.released();
    accepted += dropped.pages;
    given.freed += dropped.freed;
    at = end;
  }
  for (std::uint64_t i = 0; i < count; ++i)
    if (!given.accepted[i] && is_ballooned(table.load(first + i))) given.already.set(i);
  given.refused = count - accepted;
  bump(guest.counters.ballooned_out, given.freed);
  const auto reason = guest.arbitration.balloon_reason.load(std::memory_order_relaxed);
  bump(guest.counters.ballooned_for[static_cast<std::size_t>(reason)], given.freed);
  bump(guest.counters.balloon_refused, given.refused);
  return given;
}

PageStretch take_back(GuestMemory& guest, std::uint64_t first, std::uint64_t count) noexcept {
  auto& table = guest.table;
  const auto end = first + count;
  PageStretch taken{first, 0};
  for (auto page = first; page < end && taken.count < kMostGiven; ++page) {
    // A glimpse first: most pages of a guest are not ballooned.
    bool mine = is_ballooned(table.load(page));
    if (mine) {
      const auto word = table.lock(page);
      mine = is_ballooned(word);
      table.unlock(page, mine ? word.with_state(PageState::empty) : word);
    }
    if (!mine && taken.count > 0) break;
    if (!mine) continue;
    if (taken.count++ == 0) taken.first = page;
  }
  table.released();
  drop(guest.counters.ballooned, taken.count);
  return taken;
}

}  // namespace vmm::reclaim
