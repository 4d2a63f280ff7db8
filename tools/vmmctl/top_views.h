// The parts of the screen of vmmctl top.
// Thread-safety: pure functions.
#pragma once

#include "top_model.h"

namespace vmmctl {

// Where a view draws.
struct Area {
  std::size_t width = 0;
  std::size_t height = 0;
};

// The top of the screen: connection, budget, bar, nodes.
Lines host_lines(const TopState& state, Area area);
// One past the last of columns() that is shown: as many whole ones as there is room for.
std::size_t columns_end(const TopState& state, std::size_t width);
// Heading and rows.
Lines guest_lines(const TopState& state, Area area);
Lines detail_lines(const TopState& state, Area area);
Lines event_lines(const TopState& state, Area area);
Lines help_lines(const TopState& state, Area area);
Lines choice_lines(const TopState& state, Area area);
// The newest that fit: when, what, to whom, how much, why.
Lines last_events(const std::vector<const TimedEvent*>& events, const TopState& state, Area area, bool with_guest);

}  // namespace vmmctl
