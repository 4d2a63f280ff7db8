// Share rate: how many pages a second are looked at of a guest, so that equal ones are found.
//
// All of it in the time that is asked for, but not more than the most for a guest, and all guests together not more
// than what the processors may spend on it (ESX: Mem.ShareScanTime, ShareRateMax, ShareScanGHz; vSphere Resource
// Management, "Advanced Memory Attributes"). A guest in which several looks have found nothing is looked at less and
// less.
// Thread-safety: pure function of its arguments.
#pragma once

#include <chrono>
#include <cstdint>

namespace vmm::policy {

struct ShareRateSnapshot {
  std::uint64_t pages = 0;                                // of the guest
  std::uint64_t all_pages = 0;                            // of all guests that share, this one included
  std::chrono::nanoseconds scan_time{std::chrono::hours(1)};
  double most = 1024;                                     // pages a second
  double bytes_per_second = 0;                            // of all guests together
  unsigned fruitless = 0;                                 // looks at all of the guest, the last ones, that found nothing
};

// Pages a second.
double plan_share_rate(const ShareRateSnapshot& snapshot) noexcept;

}  // namespace vmm::policy
