#include "region/pins.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace vmm::region {
namespace {

// Writes to every page of the range without changing it, as the application would. Invisible to ThreadSanitizer:
// the application's own threads may be writing there.
__attribute__((no_sanitize("thread"), no_sanitize("address"))) void touch(std::byte* start, std::uint64_t pages) {
  for (std::uint64_t i = 0; i < pages; ++i)
    __atomic_fetch_or(reinterpret_cast<unsigned char*>(start + i * kPageSize), 0, __ATOMIC_RELAXED);
}

}  // namespace

bool Pins::any_locked(std::uint64_t first, std::uint64_t pages) const noexcept {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& r) {
    return r.first < first + pages && first < r.first + r.pages;
  });
}

Result<void> Pins::pin(std::uint64_t first, std::uint64_t pages, std::uint64_t most) {
  auto& table = guest_.table;
  const auto lost = [&](std::uint64_t page) {
    return base::fail(Errc::page_lost, "pin of guest \"" + guest_.name() + "\", page " + std::to_string(page),
                      "discard() the page first: it then reads as zeros");
  };
  {
    base::MutexLock lock(mutex_);
    std::uint64_t fresh = 0;
    for (auto page = first; page < first + pages; ++page) {
      const auto word = table.load(page);
      if (word.state() == PageState::lost) return lost(page);
      fresh += word.pinned() ? 0 : 1;
    }
    const auto now_pinned = guest_.counters.pinned.load(std::memory_order_relaxed);
    if (now_pinned + fresh > most)
      return base::fail(Errc::pin_limit,
                        "pin of " + std::to_string(pages) + " pages of guest \"" + guest_.name() + "\" (" +
                            std::to_string(now_pinned) + " pinned, at most " + std::to_string(most) + ")",
                        "release other pins, or raise the guest's limit or the host's memory");
    ranges_.push_back({first, pages});
    for (auto page = first; page < first + pages; ++page) {
      PageLock p(table, page);
      p.set(p.word().with_pin(true));
    }
    bump(guest_.counters.pinned, fresh);
  }
  // Nor are they shared from now on. Frames go before a device may write in their places, where nobody could hold it
  // off later; and what is the guest's own is charged.
  if (guest_.frames)
    if (const int e = guest_.frames->take_out(first, pages)) {
      unpin(first, pages);
      return base::fail_errno(e, "pin of guest \"" + guest_.name() + "\": taking shared pages out",
                              "raise vm.max_map_count, or share less");
    }
  // The pages cannot leave any more; now they come. In pieces, through the kernel: a page that turns out to be
  // lost is then an error here and not a SIGBUS.
  constexpr std::uint64_t kPiece = 1024;
  for (std::uint64_t done = 0; done < pages; done += kPiece) {
    const auto count = std::min(kPiece, pages - done);
    auto* const start = guest_.at(first + done);
    const int error = os::populate_for_write(start, count * kPageSize);
    if (error == 0) continue;
    for (auto page = first + done; page < first + done + count; ++page) {
      // With its lock: the kernel tells of a poisoned page before its word does.
      const bool is_lost = PageLock(table, page).word().state() == PageState::lost;
      if (!is_lost) continue;
      unpin(first, pages);
      return lost(page);
    }
    if (guest_.is_shut()) {
      unpin(first, pages);
      return base::fail(Errc::inert_handle, "pin of guest \"" + guest_.name() + "\"",
                        "the guest or its host has ended");
    }
    // A kernel that cannot wait for a user-mode-only userfaultfd, or is too old: touch them one by one.
    touch(start, count);
  }
  return {};
}

void Pins::unpin(std::uint64_t first, std::uint64_t pages) noexcept {
  base::MutexLock lock(mutex_);
  const auto range = std::find_if(ranges_.begin(), ranges_.end(),
                                  [&](const Range& r) { return r.first == first && r.pages == pages; });
  if (range == ranges_.end()) return;
  ranges_.erase(range);
  std::uint64_t freed = 0;
  for (auto page = first; page < first + pages;) {
    // Pages that another pin covers stay pinned.
    const auto other = std::find_if(ranges_.begin(), ranges_.end(),
                                    [&](const Range& r) { return r.first <= page && page < r.first + r.pages; });
    if (other != ranges_.end()) {
      page = other->first + other->pages;
      continue;
    }
    PageLock p(guest_.table, page);
    p.set(p.word().with_pin(false));
    ++freed;
    ++page;
  }
  drop(guest_.counters.pinned, freed);
}

}  // namespace vmm::region
