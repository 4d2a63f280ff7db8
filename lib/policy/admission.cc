#include "policy/admission.h"

#include <algorithm>

#include "base/above.h"

namespace vmm::policy {

using base::above;

namespace {

// What the pool can reserve by itself.
std::uint64_t own_capacity(const std::vector<AdmissionPool>& pools, std::size_t p, std::uint64_t capacity) noexcept {
  return p == 0 ? capacity : pools[p].reservation;
}

}  // namespace

std::vector<std::uint64_t> reserved_within(const std::vector<AdmissionPool>& pools) {
  std::vector<std::uint64_t> within(pools.size());
  for (std::size_t p = pools.size(); p-- > 0;) {
    within[p] += pools[p].reserved;
    if (p != 0) within[pools[p].parent] += std::max(pools[p].reservation, within[p]);
  }
  return within;
}

std::optional<Shortage> find_shortage(const std::vector<AdmissionPool>& before, std::uint64_t capacity_before,
                                      const std::vector<AdmissionPool>& after, std::uint64_t capacity) {
  const auto had = reserved_within(before), has = reserved_within(after);
  const auto at_limit = [](const AdmissionPool& pool, std::uint64_t within) {
    return pool.limit != 0 ? above(std::max(pool.reservation, within), pool.limit) : 0;
  };
  const auto alone = [](const auto& pools, std::size_t p) { return p == 0 || !pools[p].expandable; };
  for (std::size_t p = after.size(); p-- > 0;) {
    const bool old = p < before.size();
    const auto used_before = old ? had[p] : 0;
    const auto over = at_limit(after[p], has[p]);
    if (over > (old ? at_limit(before[p], had[p]) : 0))
      return Shortage{p, over, above(after[p].limit, used_before), true};
    if (!alone(after, p)) continue;
    const auto own = own_capacity(after, p, capacity);
    const auto missing = above(has[p], own);
    const auto missed = old && alone(before, p) ? above(had[p], own_capacity(before, p, capacity_before)) : 0;
    if (missing > missed) return Shortage{p, missing, above(own, used_before), false};
  }
  return std::nullopt;
}

}  // namespace vmm::policy
