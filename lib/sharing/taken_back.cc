#include "sharing/taken_back.h"

#include <algorithm>
#include <array>

#include "os/pagemap.h"
#include "region/isolator.h"
#include "sharing/guest_frames.h"
#include "sharing/locked_pages.h"
#include "sharing/share_states.h"

namespace vmm::sharing {

using region::bump;
using region::GuestMemory;
using region::PageState;
using region::PageWord;

bool TakenBack::take(GuestMemory& guest, const PageKeys& keys, std::uint64_t first, std::uint64_t count, bool settled,
                     bool doubles, const Deadline& deadline) noexcept {
  const auto end = first + count;
  while (first < end && guest.table.load(first).state() != PageState::shared) ++first;
  if (first == end) return true;
  if (!mark_broken(guest, keys, first, end - first) && settled) return true;
  // Pages of another home's frames are taken along while there is memory for that.
  const bool roomy = guest.credit().free() > guest.credit().marks().low.load(std::memory_order_relaxed) + count;
  const auto is_foreign = [&](PageWord word) { return &stores_.of(word.frame()) != &store_; };
  const auto is_one = [&](PageWord word) {
    if (!may_be_hidden(word)) return false;
    if (word.broken() || stores_.references(word.frame()) == 1) return true;
    return roomy && (is_foreign(word) || (doubles && notes_.is_double(FrameStores::frame_of(word.frame()))));
  };
  // A page taken out of the midst of a run costs two mappings more; all of the run, none.
  bool all = false;
  if (!GuestFrames::of(guest).mappings().permits(1))
    for (auto page = first; page < end && !all; ++page) all = is_one(guest.table.load(page));
  const auto is_due = [&](PageWord word) { return all ? may_be_hidden(word) : is_one(word); };
  bool none_left = true;
  LockedPages::Words words;
  for (auto page = first; page < end;) {
    const auto word = guest.table.load(page);
    if (!is_due(word)) {
      // Pinned, or waiting for memory, it may be due later.
      none_left = none_left && (word.state() != PageState::shared || (!word.pinned() && !is_foreign(word)));
      ++page;
      continue;
    }
    if (deadline.passed()) return false;
    LockedPages run(guest, page, words);
    while (run.end() < end && run.lock_next(is_due)) {
    }
    page += std::max<std::uint64_t>(run.count(), 1);
    if (run.count() > 0 && GuestFrames::of(guest).hide(run.first(), run.count(), run.words()) == 0) continue;
    bump(guest.counters.share.no_mapping, run.count());
    none_left = false;
  }
  return none_left;
}

// False: none is.
bool TakenBack::mark_broken(GuestMemory& guest, const PageKeys& keys, std::uint64_t first,
                            std::uint64_t count) noexcept {
  std::array<std::uint8_t, region::kMostTaken> own;
  // What is not known may be.
  if (guest.pagemap().own_pages(guest.at(first), count, own.data()) != 0) return true;
  const auto is_new = [](PageWord word) { return may_be_hidden(word) && !word.broken(); };
  LockedPages::Words words;
  bool found = false;
  for (std::uint64_t i = 0; i < count;) {
    const auto is_broken = [&](std::uint64_t k) { return i + k < count && (own[i + k] & os::kPresent) != 0; };
    const auto word = guest.table.load(first + i);
    found = found || (is_broken(0) && word.state() == PageState::shared);
    if (!is_broken(0) || !is_new(word)) {
      ++i;
      continue;
    }
    LockedPages run(guest, first + i, words);
    while (is_broken(run.count()) && run.lock_next(is_new)) {
    }
    i += std::max<std::uint64_t>(run.count(), 1);
    GuestFrames::of(guest).mark_broken(run.count(), run.words());
    bump(guest.counters.share.broken, run.count());
    for (std::uint64_t k = 0; k < run.count(); ++k)
      if (const auto frame = run.words()[k].frame(); &stores_.of(frame) == &store_)
        if (stores_.references(frame) > 1) notes_.note(FrameStores::frame_of(frame), keys);
  }
  return found;
}

std::uint64_t TakenBack::give_up(GuestMemory& guest, std::uint64_t most) noexcept {
  std::uint64_t given = 0;
  LockedPages::Words words;
  for (const bool broken : {true, false}) {
    const auto may = [&](PageWord word) { return may_be_hidden(word) && (word.broken() || !broken); };
    for (std::uint64_t page = 0; page < guest.pages() && given < most;) {
      LockedPages run(guest, page, words);
      while (given + run.count() < most && run.lock_next(may)) {
      }
      page += std::max<std::uint64_t>(run.count(), 1);
      if (run.count() == 0 || GuestFrames::of(guest).hide(run.first(), run.count(), run.words()) != 0) continue;
      given += run.count();
    }
  }
  return given;
}

}  // namespace vmm::sharing
