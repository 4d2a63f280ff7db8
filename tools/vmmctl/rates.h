// What a guest does in a second: differences between two snapshots.
// Thread-safety: plain values.
#pragma once

#include <map>
#include <string>

#include "snapshot.h"

namespace vmmctl {

// Per second.
struct GuestRates {
  double swapped_in = 0, swapped_out = 0, migrated = 0, popped = 0;     // bytes
  double faults = 0, fills = 0, rescues = 0, swap_ins = 0, stalls = 0;  // counts
};

// By guest name; of those that are in both. Empty when no time has passed between them, or time runs backwards. A
// counter that fell belongs to another guest of that name: such a guest is left out.
std::map<std::string, GuestRates> rates_between(const Snapshot& before, const Snapshot& now);

}  // namespace vmmctl
