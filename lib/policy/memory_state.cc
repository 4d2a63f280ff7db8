#include "policy/memory_state.h"

#include <algorithm>

namespace vmm::policy {
namespace {

std::uint64_t part(std::uint64_t pages, double fraction) noexcept {
  return static_cast<std::uint64_t>(static_cast<double>(pages) * fraction);
}

}  // namespace

StateMarks state_marks(MemoryLadder ladder, std::uint64_t budget_pages, double min_free) noexcept {
  StateMarks m;
  if (ladder == MemoryLadder::sliding) {
    m.high = sliding_min_free(budget_pages * kPageSize) / kPageSize;
    m.soft = part(m.high, 0.64);
    m.hard = part(m.high, 0.32);
    m.low = part(m.high, 0.16);
    m.low_end = part(m.high, 0.24);
  } else {
    m.high = m.soft = part(budget_pages, min_free);
    m.hard = part(budget_pages, min_free * 2 / 3);
    m.low = part(budget_pages, min_free / 6);
    m.low_end = part(budget_pages, min_free / 3);
  }
  return m;
}

MemoryState next_state(MemoryState now, std::uint64_t free, const StateMarks& m) noexcept {
  using enum MemoryState;
  const bool has_clear = m.soft < m.high;
  switch (now) {
    case high: return free >= m.high ? high : has_clear ? clear : soft;
    case clear:
      if (free < m.soft || !has_clear) return soft;
      return free >= return_mark(m.high) ? high : clear;
    case soft:
      if (free < m.hard) return hard;
      return free < return_mark(m.soft) ? soft : has_clear ? clear : high;
    case hard:
      if (free <= m.low) return low;
      return free >= return_mark(m.hard) ? soft : hard;
    case low: return free >= std::max(m.low_end, return_mark(m.low)) ? hard : low;
  }
  return now;
}

}  // namespace vmm::policy
