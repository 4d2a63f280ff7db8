// CPU entitlement: how much of its host's processors each guest may claim, whatever node it is on.
//
// The processors are divided in proportion to shares, but nobody gets more than it can use; what one cannot use goes to
// the others, again by shares (max-min fairness with weights: Bertsekas & Gallager, "Data Networks", 6.5.2).
// Thread-safety: pure functions of their arguments. O(n log n).
#pragma once

#include <cstdint>
#include <vector>

namespace vmm::policy {

struct CpuClaim {
  std::uint64_t shares = 1;  // 0 counts as 1
  double most = 0;           // processors it can use; negative and not a number count as 0
};

// Processors for each claim, in the order of the claims; together at most `processors`, and exactly as much where the
// claims together can use it.
std::vector<double> cpu_entitlements(const std::vector<CpuClaim>& claims, double processors);

}  // namespace vmm::policy
