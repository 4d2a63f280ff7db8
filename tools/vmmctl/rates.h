// What guests do between two snapshots of one host: by how much their counters grow, and how much that is in a second.
// Thread-safety: plain values.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "snapshot.h"

namespace vmmctl {

// Whether `now` is the guest that `before` was: of its name, and by the ids of both. Where a host tells no ids, a
// counter that fell shows that it is another.
bool same_guest(const Guest& before, const Guest& now);

// The guests of a snapshot, to be found again in a later one of the same host. Refers to `before`.
class EarlierGuests {
 public:
  explicit EarlierGuests(const Snapshot& before);
  // What `now` was then; nullptr if it was created since.
  const Guest* find(const Guest& now) const;

 private:
  std::map<std::string_view, const Guest*> by_name_;
};

// What a counter has grown by since `before`; all of it without one: what a guest has counted since it was created.
std::uint64_t grown(const Guest& now, const Guest* before, std::uint64_t Guest::*counter);

// Per second.
struct GuestRates {
  double swapped_in = 0, swapped_out = 0, migrated = 0, popped = 0;     // bytes
  double faults = 0, fills = 0, rescues = 0, swap_ins = 0, stalls = 0;  // counts
  // How long one took, in the mean of those there were; nothing if there were none, or no host tells it.
  std::optional<std::uint64_t> fault_mean_ns, swap_in_mean_ns;
};

// By guest name. A guest that was created between the two has counted all since. Empty when no time has passed between
// them, or time runs backwards.
std::map<std::string, GuestRates> rates_between(const Snapshot& before, const Snapshot& now);

}  // namespace vmmctl
