// Memory state: how short memory is, and with it what is done. Two ladders: ESX 4's shares of the memory, and the
// sliding minFree of later versions (public vSphere resource-management manuals).
//
// The state moves by one level a step, and upwards only with some memory beyond the mark, so that it does not flutter.
// Thread-safety: pure functions.
#pragma once

#include <cstdint>

#include "vmm/options.h"
#include "vmm/stats.h"

namespace vmm::policy {

// Pages of 4 KiB. A state is entered from the better one when less than its mark is free; low, at or below its mark.
struct StateMarks {
  std::uint64_t high = 0;     // no longer high below this: minFree
  std::uint64_t soft = 0;     // with the classic ladder the same: there is no clear
  std::uint64_t hard = 0;
  std::uint64_t low = 0;
  std::uint64_t low_end = 0;  // low is left at this
};

// minFree of the sliding ladder for a memory of that many bytes, in bytes.
constexpr std::uint64_t sliding_min_free(std::uint64_t memory) noexcept {
  struct Part {
    std::uint64_t bytes, percent;
  };
  std::uint64_t left = memory, kept = 0;
  for (const auto& part : {Part{4 * GiB, 6}, Part{8 * GiB, 4}, Part{16 * GiB, 2}, Part{~std::uint64_t{0}, 1}}) {
    const auto here = left < part.bytes ? left : part.bytes;
    kept += here / 100 * part.percent + here % 100 * part.percent / 100;
    left -= here;
  }
  return kept;
}

// `min_free` is used by the classic ladder.
StateMarks state_marks(MemoryLadder ladder, std::uint64_t budget_pages, double min_free) noexcept;

// What must be free for the state that `mark` bounds from below to be entered from a worse one.
constexpr std::uint64_t return_mark(std::uint64_t mark) noexcept { return mark + mark / 16 + 64; }

// Free memory below which balloons begin, ahead of the mark: they take a while.
constexpr std::uint64_t ahead_mark(const StateMarks& marks) noexcept { return marks.high + marks.high / 4; }

// Free memory below which faults ask for the next look, when the last has found `free` and nothing to do. Balloons begin
// ahead of the mark, and what they give is asked for in pieces; between those nobody need look.
constexpr std::uint64_t wake_mark(const StateMarks& marks, std::uint64_t free) noexcept {
  const auto ahead = ahead_mark(marks);
  const auto piece = marks.high / 32 + 1;
  if (free >= ahead) return ahead;
  return free > marks.high + piece ? free - piece : marks.high;
}

// The state after a look at free memory: the same, or the next one in the direction of where it should be.
MemoryState next_state(MemoryState now, std::uint64_t free, const StateMarks& marks) noexcept;

}  // namespace vmm::policy
