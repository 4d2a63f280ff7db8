// How the fault service answers a missing page that is not swapped.
#include <algorithm>
#include <array>
#include <cerrno>

#include "os/affinity.h"
#include "region/fault_service.h"
#include "region/isolator.h"

namespace vmm::region {
namespace {

constexpr int kMostHugeAhead = 3;

// Of two visits of the evictor's hand: it has been touched since the last one.
constexpr std::uint8_t kRescuedHeat = 2;

void note_rescue(GuestMemory& guest, std::uint64_t page, std::uint64_t pages, base::Nanos since) noexcept {
  guest.warm(page, 2);
  bump(guest.counters.pages_rescued, pages);
  bump(guest.counters.rescues);
  guest.count_wait(&FaultLatency::rescue, since);
}

bool missing(PageWord word) noexcept {
  return word.state() == PageState::native || word.state() == PageState::empty;
}

bool ballooned(PageWord word) noexcept { return word.state() == PageState::ballooned; }
// What may be brought for a neighbour's sake: a touch of a watched page has to be a fault.
bool unwatched_missing(PageWord word) noexcept { return missing(word) && !word.watched(); }
bool unwatched_ballooned(PageWord word) noexcept { return ballooned(word) && !word.watched(); }
bool unwatched_parked(PageWord word) noexcept {
  return word.state() == PageState::isolated && !word.writing() && !word.watched();
}

// Pages round one that is locked, locked one by one while `fits`; the words of all of them are the caller's.
class LockedRun {
 public:
  template <class Fits>
  LockedRun(PageTable& table, std::uint64_t page, PageWord word, policy::PageRange window, Fits fits) noexcept
      : table_(table), first_(page), end_(page + 1) {
    words_[at(page)] = word;
    const auto most_first = std::max(window.first, page - std::min(page, kPagesPerHuge - 1));
    const auto most_end = std::min({window.first + window.count, table.pages(), most_first + kPagesPerHuge});
    while (end_ < most_end && take(end_, fits)) ++end_;
    while (first_ > most_first && take(first_ - 1, fits)) --first_;
  }
  std::uint64_t first() const noexcept { return first_; }
  std::uint64_t end() const noexcept { return end_; }
  std::uint64_t count() const noexcept { return end_ - first_; }
  PageWord word(std::uint64_t page) const noexcept { return words_[at(page)]; }
  // Unlocks all but `page`, unchanged.
  void keep_only(std::uint64_t page) noexcept {
    for (auto p = first_; p < end_; ++p)
      if (p != page) table_.unlock(p, word(p));
    first_ = page;
    end_ = page + 1;
  }

 private:
  static constexpr std::size_t at(std::uint64_t page) noexcept { return page % words_size; }
  template <class Fits>
  bool take(std::uint64_t page, Fits fits) noexcept {
    // A glimpse first: taking the lock of a page only to let go of it would disturb others.
    if (!fits(table_.load(page))) return false;
    const auto word = table_.try_lock(page);
    if (!word) return false;
    if (!fits(*word)) {
      table_.unlock(page, *word);
      return false;
    }
    words_[at(page)] = *word;
    return true;
  }
  static constexpr std::size_t words_size = kPagesPerHuge;
  PageTable& table_;
  std::uint64_t first_, end_;
  std::array<PageWord, words_size> words_;
};

}  // namespace

Outcome FaultService::fill(const Fault& fault, PageWord word) noexcept {
  GuestMemory& guest = *fault.guest;
  auto& table = guest.table;
  const bool roomy = credit_.free() > credit_.marks().roomy.load(std::memory_order_relaxed);
  // Its owner gave it up, and uses it again: that page alone, and more while the touches follow each other.
  const bool pops = ballooned(word);
  if (!pops && fault.write && roomy && guest.options().large_pages && zero_pool_ != nullptr) {
    bool filled = fill_huge(guest, fault.page, word, true);
    // Zeroing takes about as long as filling with small pages would; and the page is huge. Done here while the worker
    // zeroes the next one, or waited for where it may take long.
    if (!filled && zero_pool_->ready() == 0 && could_be_huge(guest, fault.page)) {
      if (zero_pool_->quick()) {
        demand_.zeros_wanted();
        // Two that zero side by side: on one processor each would wait for the other.
        if (const int busy = zero_pool_->zeroing_on(); busy >= 0 && busy == os::current_processor())
          os::leave_processor(busy);
        filled = zero_pool_->refill() && fill_huge(guest, fault.page, word, true);
      } else if (!fault.waited_for_zeros) {
        if (zero_pool_->announce_wait(bell_)) {
          table.unlock(fault.page, word);
          demand_.zeros_wanted();
          return Outcome::wait_zeros;
        }
        filled = fill_huge(guest, fault.page, word, true);
      }
    }
    if (filled) {
      const auto next = (fault.page / kPagesPerHuge + 1) * kPagesPerHuge;
      if (next == guest.huge_stream + kPagesPerHuge) fill_huge_ahead(guest, next);
      else guest.huge_stream = next;
      bump(guest.counters.fills);
      bump(guest.counters.pages_filled, kPagesPerHuge);
      guest.count_wait(&FaultLatency::fill, fault.since);
      check_memory();
      return Outcome::done;
    }
  }
  const auto window = pops ? guest.pop_window.next(fault.page, false) : guest.fill_window.next(fault.page, roomy);
  LockedRun run(table, fault.page, word, window, pops ? unwatched_ballooned : unwatched_missing);
  if (!guest.try_charge(run.count())) {
    run.keep_only(fault.page);
    if (!guest.try_charge(1)) {
      table.unlock(fault.page, word);
      return Outcome::wait_credit;
    }
  }
  auto* const start = guest.at(run.first());
  const auto bytes = run.count() * kPageSize;
  auto done = fault.write ? guest.uffd().copy(start, zeros_.data(), bytes, false) : guest.uffd().zero(start, bytes);
  auto filled = run.first() + done.bytes / kPageSize;
  auto outcome = Outcome::done;
  if (done.error == EEXIST && filled <= fault.page) {
    // Something is in the place: a page that nobody told us of, which then is the guest's, or a marker, which
    // goes, so that the thread faults once more.
    const auto marker = guest.remove_marker(filled);
    if (marker == Marker::none || marker == Marker::unknown) ++filled;
    guest.wake(fault.page, 1);
  } else if (done.error != 0 && filled <= fault.page) {
    // ENOENT: the guest went back to native; the kernel answers. Others: the kernel is short or busy.
    if (done.error == ENOENT || done.error == ESRCH)
      guest.wake(fault.page, 1);
    else
      outcome = Outcome::wait_kernel;
  }
  for (auto page = run.first(); page < run.end(); ++page)
    table.unlock(page, page < filled ? run.word(page).with_state(PageState::resident).with_heat(1) : run.word(page));
  guest.uncharge(run.end() - filled);
  if (pops) {
    drop(guest.counters.ballooned, filled - run.first());
    bump(guest.counters.balloon_popped, filled - run.first());
  }
  if (!fault.write) bump(guest.counters.zero_pages, filled - run.first());
  if (outcome == Outcome::done) {
    guest.warm(fault.page, 1);
    bump(pops ? guest.counters.balloon_pops : guest.counters.fills);
    bump(guest.counters.pages_filled, filled - run.first());
    guest.count_wait(pops ? &FaultLatency::pop : &FaultLatency::fill, fault.since);
  }
  check_memory();
  return outcome;
}

bool FaultService::could_be_huge(const GuestMemory& guest, std::uint64_t page) const noexcept {
  const auto first = page / kPagesPerHuge * kPagesPerHuge;
  return first + kPagesPerHuge <= guest.pages() && !guest.over_limit(kPagesPerHuge) &&
         missing(guest.table.load(first)) && missing(guest.table.load(first + kPagesPerHuge - 1));
}

// A huge page is sampled as a whole: with `touched`, watched pages in it count as touched too. Ahead of a touch they are
// left alone, and with them the whole of it.
bool FaultService::fill_huge(GuestMemory& guest, std::uint64_t page, PageWord word, bool touched) noexcept {
  const auto first = page / kPagesPerHuge * kPagesPerHuge;
  if (zero_pool_->ready() == 0 || !could_be_huge(guest, page)) return false;
  LockedRun run(guest.table, page, word, {first, kPagesPerHuge}, touched ? missing : unwatched_missing);
  std::uint64_t filled = first;
  if (run.count() == kPagesPerHuge) filled = first + zero_pool_->take(guest, first);
  for (auto p = run.first(); p < run.end(); ++p) {
    if (p == page && p >= filled) continue;  // still the caller's
    const auto w = run.word(p);
    guest.table.unlock(p, p < filled ? w.with_state(PageState::resident).with_watch(Watch::none) : w);
  }
  demand_.zeros_wanted();
  if (page >= filled) return false;
  guest.warm(page, 1);
  return true;
}

// Neighbours that follow in order come for the same fault, as far as zeroed pages are there.
void FaultService::fill_huge_ahead(GuestMemory& guest, std::uint64_t first) noexcept {
  guest.huge_stream = first;
  for (int i = 0; i < kMostHugeAhead && zero_pool_->ready() > 0 && could_be_huge(guest, first); ++i) {
    const auto word = guest.table.try_lock(first);
    if (!word) return;
    if (!unwatched_missing(*word) || !fill_huge(guest, first, *word, false)) {
      guest.table.unlock(first, *word);
      return;
    }
    first += kPagesPerHuge;
    guest.huge_stream = first;
  }
}

Outcome FaultService::confirm(const Fault& fault, PageWord word) noexcept {
  GuestMemory& guest = *fault.guest;
  auto outcome = Outcome::done;
  if (fault.write_protected) {
    // Baseline: the page was put in place protected, to see whether it is written. It is now.
    if (guest.uffd().write_protect(guest.at(fault.page), kPageSize, false) != 0) outcome = Outcome::wait_kernel;
  } else {
    // Answered already for another thread (EEXIST) - or the application dropped the page behind our back, and
    // then zeros are what it asked for.
    outcome = supply_zeros(fault);
  }
  guest.table.unlock(fault.page, word);
  return outcome;
}

// Zeros for a page that is charged. What is there already, stays.
Outcome FaultService::supply_zeros(const Fault& fault) noexcept {
  GuestMemory& guest = *fault.guest;
  auto* const place = guest.at(fault.page);
  const auto done =
      fault.write ? guest.uffd().copy(place, zeros_.data(), kPageSize, false) : guest.uffd().zero(place, kPageSize);
  if (done.error == 0) return Outcome::done;
  if (done.error == EEXIST) static_cast<void>(guest.remove_marker(fault.page));
  if (done.error != EEXIST && done.error != ENOENT && done.error != ESRCH) return Outcome::wait_kernel;
  guest.wake(fault.page, 1);
  return Outcome::done;
}

Outcome FaultService::rescue(const Fault& fault, PageWord word) noexcept {
  GuestMemory& guest = *fault.guest;
  auto window = guest.rescue_window.next(fault.page, false);
  // A huge page that was parked whole goes back whole, and stays huge.
  const auto chunk = fault.page / kPagesPerHuge * kPagesPerHuge;
  if (guest.options().large_pages && chunk + kPagesPerHuge <= guest.pages() &&
      unwatched_parked(guest.table.load(chunk)) &&
      unwatched_parked(guest.table.load(chunk + kPagesPerHuge - 1)))
    window = {chunk, kPagesPerHuge};
  if (window.count == 1 && rescue_by_copy(fault, word)) return Outcome::done;
  LockedRun run(guest.table, fault.page, word, window, unwatched_parked);
  int error = 0;
  const auto given = guest.isolator().give(guest, run.first(), run.count(), error);
  const auto end = run.first() + given;
  // Neighbours come along because they are touched in order.
  for (auto page = run.first(); page < run.end(); ++page) {
    const auto back = run.word(page).with_state(PageState::resident).with_heat(kRescuedHeat);
    guest.table.unlock(page, page < end ? back : run.word(page));
  }
  drop(guest.counters.staging, given);
  if (end <= fault.page) {
    if (error == ENOENT || error == ESRCH) guest.wake(fault.page, 1);
    return Outcome::wait_kernel;
  }
  note_rescue(guest, fault.page, given, fault.since);
  return Outcome::done;
}

// A single page, while the worker keeps up with dropping the originals. False: not done, and still locked.
bool FaultService::rescue_by_copy(const Fault& fault, PageWord word) noexcept {
  GuestMemory& guest = *fault.guest;
  if (guest.leftovers.full() || !guest.try_charge(1)) return false;
  // Clean as it is, a page that is only read keeps its slot.
  if (guest.isolator().copy_back(guest, fault.page, word.has_slot() && !fault.write) != 0) {
    guest.uncharge(1);
    return false;
  }
  guest.table.unlock(fault.page, word.with_state(PageState::resident).with_writing(true).with_heat(kRescuedHeat));
  if (guest.leftovers.put(fault.page) == Leftovers::kMost / 2) demand_.memory_wanted();
  note_rescue(guest, fault.page, 1, fault.since);
  return true;
}

Outcome FaultService::copy_back(const Fault& fault, PageWord word) noexcept {
  GuestMemory& guest = *fault.guest;
  if (!guest.try_charge(1)) {
    guest.table.unlock(fault.page, word);
    return Outcome::wait_credit;
  }
  const int error = guest.isolator().copy_back(guest, fault.page);
  if (error != 0) {
    guest.uncharge(1);
    guest.table.unlock(fault.page, word);
    return Outcome::wait_kernel;
  }
  guest.table.unlock(fault.page, word.with_state(PageState::resident).with_heat(kRescuedHeat));
  note_rescue(guest, fault.page, 1, fault.since);
  return Outcome::done;
}

Outcome FaultService::reject(const Fault& fault, PageWord word) noexcept {
  GuestMemory& guest = *fault.guest;
  guest.refuse(fault.page);
  guest.wake(fault.page, 1);
  guest.table.unlock(fault.page, word);
  bump(guest.counters.rejected_faults);
  return Outcome::done;
}

// The owner has moved a part of the guest away (mremap), and touches a page that was not in it then.
void FaultService::refuse_moved(GuestMemory& guest, std::uint64_t address) noexcept {
  auto* const place = reinterpret_cast<std::byte*>(address);
  guest.refuse_at(place);
  bump(guest.counters.rejected_faults);
  for (int tries = 0; guest.uffd().wake(place, kPageSize) != 0 && tries < 16; ++tries) {
  }
}

}  // namespace vmm::region
