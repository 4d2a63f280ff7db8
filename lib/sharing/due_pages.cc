#include "sharing/due_pages.h"

#include <algorithm>
#include <array>

#include "os/pagemap.h"
#include "sharing/locked_pages.h"
#include "sharing/share_states.h"

namespace vmm::sharing {

using region::PageState;
using region::PageWord;

namespace {

// By the same note it is told whether a slot holds what the page does.
bool may_be_armed(PageWord w) noexcept { return may_be_shared(w) && !w.has_slot(); }

}  // namespace

DuePages::DuePages(region::GuestMemory& guest)
    : guest_(guest),
      tracks_(guest.options().features.wp_async && guest.pagemap().has_scan()),
      done_((guest.pages() + 63) / 64) {}

void DuePages::find(std::uint64_t first, std::uint64_t count) noexcept {
  first_ = first;
  due_.reset();
  huge_.reset();
  // Of the pages that may be shared only: what shows frames, or is not there, counts as written.
  std::bitset<kMost> candidates;
  std::uint64_t begin = count, end = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!may_be_shared(guest_.table.load(first + i))) continue;
    candidates[i] = true;
    begin = std::min(begin, i);
    end = i + 1;
  }
  if (begin >= end) return;
  std::array<std::uint8_t, kMost> bits;
  if (tracks_) {
    if (guest_.pagemap().written_pages(guest_.at(first + begin), end - begin, bits.data() + begin) != 0) return;
    arm(begin, end, bits.data());
  }
  // What was not written may not have been looked at yet, and of huge pages nobody knows.
  std::bitset<kMost> unknown;
  for (auto i = begin; i < end; ++i) {
    if (!candidates[i] || due_[i]) continue;
    if (guest_.table.load(first + i).has_slot()) undo(first + i);
    unknown[i] = !tracks_ || !is_done(first + i);
  }
  if (unknown.none() || guest_.pagemap().bits(guest_.at(first), count, bits.data()) != 0) return;
  for (auto i = begin; i < end; ++i) {
    if (!unknown[i] || (bits[i] & (os::kPresent | os::kFile | os::kZero)) != os::kPresent) continue;
    due_[i] = true;
    huge_[i] = (bits[i] & os::kHuge) != 0;
  }
}

// Those that were written, and are pages like others, are due.
void DuePages::arm(std::uint64_t begin, std::uint64_t end, const std::uint8_t* written) noexcept {
  LockedPages::Words words;
  std::array<std::uint8_t, LockedPages::kMost> bits;
  for (auto i = begin; i < end;) {
    if (written[i] == 0) {
      ++i;
      continue;
    }
    undo(first_ + i);
    // Who puts a page in its place from a slot holds its lock meanwhile: no such page is among these.
    LockedPages run(guest_, first_ + i, words);
    while (i + run.count() < end && written[i + run.count()] != 0 && run.lock_next(may_be_armed)) {
    }
    const bool told = run.count() > 0 && guest_.pagemap().arm_written(run.at(0), run.count(), bits.data()) == 0;
    for (std::uint64_t k = 0; k < run.count(); ++k) {
      undo(first_ + i + k);
      due_[i + k] = told && bits[k] != 0;
    }
    i += std::max<std::uint64_t>(run.count(), 1);
  }
}

void DuePages::done(std::uint64_t page) noexcept {
  if (tracks_) done_[page / 64] |= std::uint64_t{1} << page % 64;
}

bool DuePages::all_done() const noexcept {
  for (std::uint64_t page = 0; page < guest_.pages(); ++page) {
    const auto state = guest_.table.load(page).state();
    if ((state == PageState::resident || state == PageState::isolated) && !is_done(page)) return false;
  }
  return tracks_;
}

void DuePages::forget() noexcept { std::fill(done_.begin(), done_.end(), 0); }

}  // namespace vmm::sharing
