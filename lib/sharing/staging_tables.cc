#include "sharing/staging_tables.h"

#include <algorithm>
#include <array>
#include <utility>

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

// The table after the last that pages [first, first + count) are in.
std::uint64_t StagingTables::end_of(std::uint64_t first, std::uint64_t count) const noexcept {
  return std::min<std::uint64_t>((first + count + kPagesPerHuge - 1) / kPagesPerHuge, emptied_.size());
}

void StagingTables::emptied(std::uint64_t first, std::uint64_t count) noexcept {
  const auto end = end_of(first, count);
  for (auto table = first / kPagesPerHuge; table < end; ++table) {
    if (emptied_[table]) continue;
    emptied_[table] = true;
    ++left_;
  }
}

void StagingTables::give_back(std::uint64_t first, std::uint64_t count, const Deadline& deadline) noexcept {
  const auto end = end_of(first, count);
  for (auto table = first / kPagesPerHuge; left_ != 0 && table < end && !deadline.passed(); ++table)
    if (emptied_[table]) give_back(table);
}

bool StagingTables::give_back_next(const Deadline& deadline) noexcept {
  for (; left_ != 0 && hand_ < emptied_.size(); ++hand_) {
    if (!emptied_[hand_]) continue;
    if (deadline.passed()) return false;
    give_back(hand_);
  }
  hand_ = 0;
  return true;
}

// Pages come into staging by the worker, whose call this is, and where frames are taken out of a page's place: by
// whoever has locked the word of a page that is shared. So those are locked here, and the others stay out of it.
void StagingTables::give_back(std::uint64_t table) noexcept {
  const auto first = table * kPagesPerHuge;
  std::array<std::pair<std::uint64_t, PageWord>, kPagesPerHuge> locked;
  std::size_t count = 0;
  bool empty = true;
  for (auto page = first; empty && page < first + kPagesPerHuge; ++page) {
    const auto word = guest_.table.load(page);
    if (in_staging(word)) {
      empty = false;
    } else if (word.state() == PageState::shared) {
      const auto mine = guest_.table.try_lock(page);
      if (mine) locked[count++] = {page, *mine};
      empty = mine && !in_staging(*mine);
    }
  }
  if (empty && os::drop_pages(guest_.staged(first), kHugePageSize) == 0) {
    emptied_[table] = false;
    --left_;
  }
  for (std::size_t i = 0; i < count; ++i) guest_.table.unlock(locked[i].first, locked[i].second);
  if (count > 0) guest_.table.released();
}

}  // namespace vmm::sharing
