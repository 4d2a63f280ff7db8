#include "sharing/locked_pages.h"

#include "region/isolator.h"

namespace vmm::sharing {

using region::bump;
using region::PageState;

void LockedPages::isolate() noexcept {
  region::TakenSet taken;
  if (count_ == 0) return;
  static_cast<void>(guest_->isolator().take(*guest_, first_, count_, taken));
  bump(guest_->counters.staging, taken.count());
  std::uint64_t leading = count_;
  for (auto i = count_; i-- > 0;) {
    if (!taken[i]) {
      leading = i;
      continue;
    }
    auto& word = words_[i];
    // Nobody could tell any more whether it has been written since.
    if (word.has_slot()) guest_->backing->free_slot(word.slot());
    word = word.without_slot().with_state(PageState::isolated);
    guest_->table.change(first_ + i, word);
  }
  settle_from(leading);
}

void LockedPages::settle_front(std::uint64_t count) noexcept {
  settle(0, count);
  words_ = words_.subspan(count);
  first_ += count;
  count_ -= count;
}

void LockedPages::settle_from(std::uint64_t from) noexcept {
  settle(from, count_);
  count_ = from;
}

void LockedPages::settle(std::uint64_t from, std::uint64_t to) noexcept {
  for (auto i = from; i < to;) {
    if (words_[i].state() != PageState::isolated) {
      ++i;
      continue;
    }
    auto end = i;
    while (end < to && words_[end].state() == PageState::isolated) ++end;
    int error = 0;
    const auto given = guest_->isolator().give(*guest_, first_ + i, end - i, error);
    region::drop(guest_->counters.staging, given);
    for (const auto until = i + given; i < until; ++i) words_[i] = words_[i].with_state(PageState::resident);
    if (i == end) continue;
    // It is rescued from staging when it is touched, or found there by the worker.
    if (guest_->backing) guest_->backing->left_in_staging();
    ++i;
  }
  for (auto i = from; i < to; ++i) guest_->table.unlock(first_ + i, words_[i]);
  if (from < to) guest_->table.released();
}

}  // namespace vmm::sharing
