#include "policy/share_rate.h"

#include <algorithm>
#include <cmath>

#include "vmm/units.h"

namespace vmm::policy {

double plan_share_rate(const ShareRateSnapshot& s) noexcept {
  if (s.pages == 0) return 0;
  const auto seconds = std::max(std::chrono::duration<double>(s.scan_time).count(), 1e-3);
  const auto pages = static_cast<double>(s.pages), all = static_cast<double>(std::max(s.all_pages, s.pages));
  const auto part = s.bytes_per_second / static_cast<double>(kPageSize) * (pages / all);
  // Half as fast after each but the first, which others may come after.
  constexpr unsigned kMostHalvings = 4;
  const auto halvings = static_cast<int>(std::min(s.fruitless > 0 ? s.fruitless - 1 : 0, kMostHalvings));
  return std::ldexp(std::max(std::min({pages / seconds, s.most, part}), 0.0), -halvings);
}

}  // namespace vmm::policy
