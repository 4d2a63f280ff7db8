#include "pinned_ranges.h"

#include <iterator>
#include <utility>
#include <vector>

namespace vmm::run {

PinnedRanges::Pins::const_iterator PinnedRanges::first_behind(std::uint64_t offset) const noexcept {
  auto at = pins_.upper_bound(offset);
  if (at != pins_.begin() && std::prev(at)->second.end > offset) --at;
  return at;
}

bool PinnedRanges::any(GuestRange range) const noexcept {
  const auto at = first_behind(range.first);
  return at != pins_.end() && at->first < range.end;
}

Result<void> PinnedRanges::add(Guest& guest, GuestRange range) {
  std::vector<std::pair<std::uint64_t, Pinned>> fresh;
  const auto pin = [&](std::uint64_t first, std::uint64_t end) -> Result<void> {
    if (first >= end) return {};
    auto pinned = guest.pin(first, end - first);
    if (!pinned) return tl::unexpected(pinned.error());
    fresh.emplace_back(first, Pinned{end, std::make_shared<Pin>(std::move(*pinned))});
    return {};
  };
  std::uint64_t from = range.first;
  for (auto at = first_behind(from); at != pins_.end() && at->first < range.end; ++at) {
    if (auto r = pin(from, at->first); !r) return r;
    from = at->second.end;
  }
  if (auto r = pin(from, range.end); !r) return r;
  for (auto& [first, pinned] : fresh) pins_.emplace(first, std::move(pinned));
  return {};
}

void PinnedRanges::remove(GuestRange range) {
  const auto from = first_behind(range.first);
  const auto to = pins_.lower_bound(range.end);
  if (from == pins_.end() || from == to) return;
  // What stays of the first and the last.
  std::vector<std::pair<std::uint64_t, Pinned>> left;
  const auto last = std::prev(to);
  if (from->first < range.first) left.emplace_back(from->first, Pinned{range.first, from->second.pin});
  if (range.end < last->second.end) left.emplace_back(range.end, Pinned{last->second.end, last->second.pin});
  pins_.erase(from, to);
  for (auto& [first, pinned] : left) pins_.emplace(first, std::move(pinned));
}

}  // namespace vmm::run
