#include "host/page_list.h"

#include <algorithm>
#include <iterator>

namespace vmm::host {

void PageList::split(std::uint64_t at) {
  auto piece = pieces_.upper_bound(at);
  if (piece == pieces_.begin()) return;
  --piece;
  if (piece->first == at || piece->second.end <= at) return;
  pieces_.emplace(at, piece->second);
  piece->second.end = at;
}

void PageList::set(Pieces::iterator piece, State state) noexcept {
  const auto size = piece->second.end - piece->first;
  count(piece->second.state) -= size;
  count(state) += size;
  piece->second.state = state;
}

void PageList::join(std::uint64_t begin, std::uint64_t end) noexcept {
  auto piece = pieces_.lower_bound(begin);
  if (piece != pieces_.begin()) --piece;
  while (piece != pieces_.end() && piece->first <= end) {
    const auto next = std::next(piece);
    if (next == pieces_.end()) return;
    if (next->first == piece->second.end && next->second.state == piece->second.state) {
      piece->second.end = next->second.end;
      pieces_.erase(next);
    } else {
      piece = next;
    }
  }
}

void PageList::add(std::uint64_t begin, std::uint64_t end) {
  auto piece = pieces_.upper_bound(begin);
  if (piece != pieces_.begin() && std::prev(piece)->second.end > begin) --piece;
  for (auto at = begin; at < end;) {
    const bool gap = piece == pieces_.end() || piece->first > at;
    const auto to = std::min(end, gap ? (piece == pieces_.end() ? end : piece->first) : piece->second.end);
    if (gap) {
      pieces_.emplace_hint(piece, at, Piece{to, State::free});
      count(State::free) += to - at;
    } else {
      ++piece;
    }
    at = to;
  }
  join(begin, end);
}

bool PageList::take(std::uint64_t begin, std::uint64_t end) {
  auto piece = pieces_.upper_bound(begin);
  if (piece == pieces_.begin()) return false;
  --piece;
  for (auto at = begin; at < end; ++piece) {
    if (piece == pieces_.end() || piece->first > at || piece->second.end <= at) return false;
    if (piece->second.state == State::leaving) return false;
    at = piece->second.end;
  }
  split(begin);
  split(end);
  for (piece = pieces_.find(begin); piece != pieces_.end() && piece->first < end; piece = pieces_.erase(piece))
    count(piece->second.state) -= piece->second.end - piece->first;
  return true;
}

std::optional<std::uint64_t> PageList::find(std::uint64_t bytes) const noexcept {
  for (const auto& [begin, piece] : pieces_)
    if (piece.state == State::free && piece.end - begin >= bytes) return begin;
  std::uint64_t from = 0, to = 0;  // neighbours that may be used
  for (const auto& [begin, piece] : pieces_) {
    if (piece.state == State::leaving) continue;
    if (begin != to) from = begin;
    to = piece.end;
    if (to - from >= bytes) return from;
  }
  return std::nullopt;
}

std::vector<BalloonRange> PageList::leave(std::uint64_t bytes) {
  // What can fail comes first.
  std::vector<BalloonRange> ranges;
  std::uint64_t left = bytes, lowest = 0;
  for (auto piece = pieces_.rbegin(); piece != pieces_.rend() && left > 0; ++piece) {
    if (piece->second.state != State::free) continue;
    const auto size = std::min(left, piece->second.end - piece->first);
    lowest = piece->second.end - size;
    ranges.push_back({lowest, size});
    left -= size;
  }
  if (ranges.empty()) return ranges;
  split(lowest);
  for (auto piece = pieces_.find(lowest); piece != pieces_.end(); ++piece)
    if (piece->second.state == State::free) set(piece, State::leaving);
  join(lowest, ~std::uint64_t{0});
  return ranges;
}

void PageList::come_back(std::uint64_t begin, std::uint64_t end) {
  split(begin);
  split(end);
  for (auto piece = pieces_.lower_bound(begin); piece != pieces_.end() && piece->first < end; ++piece)
    set(piece, State::free);
  join(begin, end);
}

void PageList::settle() noexcept {
  if (bytes(State::leaving) == 0) return;
  for (auto piece = pieces_.begin(); piece != pieces_.end(); ++piece)
    if (piece->second.state == State::leaving) set(piece, State::given);
  join(0, ~std::uint64_t{0});
}

}  // namespace vmm::host
