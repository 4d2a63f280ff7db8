#include "region/page_table.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/check.h"
#include "vmm/units.h"

namespace vmm::region {

Result<PageTable> PageTable::create(std::uint64_t pages) {
  auto memory = os::Mapping::anonymous(pages * sizeof(std::uint64_t));
  if (!memory) return tl::unexpected(memory.error());
  // Zeroed memory is a table of native pages; lock-free 64-bit atomics have the layout of the integer.
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free && sizeof(std::atomic<std::uint64_t>) == 8);
  PageTable table;
  table.memory_ = std::move(*memory);
  table.words_ = reinterpret_cast<std::atomic<std::uint64_t>*>(table.memory_.data());
  table.pages_ = pages;
  return table;
}

PageTable::PageTable(PageTable&& other) noexcept { *this = std::move(other); }

PageTable& PageTable::operator=(PageTable&& other) noexcept {
  memory_ = std::move(other.memory_);
  words_ = std::exchange(other.words_, nullptr);
  pages_ = std::exchange(other.pages_, 0);
  bell_ = other.bell_.exchange(nullptr);
  return *this;
}

PageWord PageTable::lock(std::uint64_t page) noexcept {
  for (int spins = 0;; ++spins) {
    if (auto word = try_lock(page)) return *word;
    if (spins > 64) std::this_thread::yield();
  }
}

void PageTable::set(std::uint64_t page, PageWord word) noexcept {
  const PageWord old(words_[page].load(std::memory_order_relaxed));
  VMM_CHECK(old.locked());
  if (!may_become(old.state(), word.state())) VMM_CHECK_EQ(old.state(), word.state());
  if (old.dropped() != word.dropped())
    dropped_.fetch_add(word.dropped() ? 1 : ~std::uint64_t{0}, std::memory_order_relaxed);
  words_[page].store(word.raw(), std::memory_order_release);
}

PageWord PageTable::unwatch(std::uint64_t page, PageWord word) noexcept {
  const auto is_whole = [](PageWord w) { return w.watch() == Watch::whole; };
  const auto first = is_whole(word) ? page / kPagesPerHuge * kPagesPerHuge : page;
  const auto end = is_whole(word) ? std::min(first + kPagesPerHuge, pages_) : page;
  for (auto p = first; p < end; ++p) {
    if (p == page || !is_whole(load(p))) continue;
    if (const auto w = try_lock(p)) unlock(p, is_whole(*w) ? w->with_watch(Watch::none) : *w);
  }
  return word.with_watch(Watch::none);
}

}  // namespace vmm::region
