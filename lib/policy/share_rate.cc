#include "policy/share_rate.h"

#include <algorithm>

#include "vmm/units.h"

namespace vmm::policy {

double plan_share_rate(const ShareRateSnapshot& s) noexcept {
  if (s.pages == 0) return 0;
  const auto seconds = std::max(std::chrono::duration<double>(s.scan_time).count(), 1e-3);
  const auto pages = static_cast<double>(s.pages), all = static_cast<double>(std::max(s.all_pages, s.pages));
  const auto part = s.bytes_per_second / static_cast<double>(kPageSize) * (pages / all);
  return std::max(std::min({pages / seconds, s.most, part}), 0.0);
}

}  // namespace vmm::policy
