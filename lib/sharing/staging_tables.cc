#include "sharing/staging_tables.h"

#include <algorithm>
#include <array>

#include "os/mapping.h"

namespace vmm::sharing {

using region::kPagesPerHuge;
using region::PageState;
using region::PageWord;

namespace {

// Staging holds something of the page. Of a shared page writing() tells something else.
bool in_staging(PageWord word) noexcept {
  return word.state() == PageState::isolated || (word.writing() && word.state() != PageState::shared);
}

}  // namespace

// The last table is left out where it is of less than 2 MiB, for the kernel would keep that.
StagingTables::StagingTables(region::GuestMemory& guest) : guest_(guest), emptied_(guest.pages() / kPagesPerHuge) {}

void StagingTables::emptied(std::uint64_t first, std::uint64_t count) noexcept {
  const auto end = std::min<std::uint64_t>((first + count + kPagesPerHuge - 1) / kPagesPerHuge, emptied_.size());
  for (auto table = first / kPagesPerHuge; table < end; ++table) {
    if (emptied_[table]) continue;
    emptied_[table] = true;
    ++left_;
  }
}

void StagingTables::give_back(std::uint64_t first, std::uint64_t count, const Deadline& deadline) noexcept {
  const auto end = std::min<std::uint64_t>((first + count + kPagesPerHuge - 1) / kPagesPerHuge, emptied_.size());
  for (auto table = first / kPagesPerHuge; left_ != 0 && table < end; ++table) {
    if (!emptied_[table]) continue;
    if (deadline.passed()) return;
    if (!give_back(table)) continue;
    emptied_[table] = false;
    --left_;
  }
}

// Whoever puts something into staging has locked its word: with all of them nobody can meanwhile.
bool StagingTables::give_back(std::uint64_t table) noexcept {
  const auto first = table * kPagesPerHuge;
  std::array<PageWord, kPagesPerHuge> words;
  std::uint64_t locked = 0;
  bool empty = true;
  for (; empty && locked < kPagesPerHuge; ++locked) {
    const auto word = guest_.table.try_lock(first + locked);
    if (!word) break;
    words[locked] = *word;
    empty = !in_staging(*word);
  }
  empty = empty && locked == kPagesPerHuge && os::drop_pages(guest_.staged(first), kHugePageSize) == 0;
  for (std::uint64_t i = 0; i < locked; ++i) guest_.table.unlock(first + i, words[i]);
  guest_.table.released();
  return empty;
}

}  // namespace vmm::sharing
