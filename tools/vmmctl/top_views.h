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
// Heading and rows.
Lines guest_lines(const TopState& state, Area area);
Lines detail_lines(const TopState& state, Area area);
Lines event_lines(const TopState& state, Area area);
Lines help_lines(const TopState& state, Area area);
Lines choice_lines(const TopState& state, Area area);
// One event: when, what, to whom, why.
Line event_line(const TimedEvent& event, const TopState& state);

}  // namespace vmmctl
