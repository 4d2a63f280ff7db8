#include "policy/cpu_entitlement.h"

#include <algorithm>
#include <cstddef>

namespace vmm::policy {
namespace {

double weight(const CpuClaim& claim) { return static_cast<double>(std::max<std::uint64_t>(claim.shares, 1)); }
double most(const CpuClaim& claim) { return claim.most > 0 ? claim.most : 0; }

}  // namespace

std::vector<double> cpu_entitlements(const std::vector<CpuClaim>& claims, double processors) {
  // Who can use least for its shares is satisfied first.
  struct Turn {
    double level;  // what it can use, for its shares
    std::size_t claim;
  };
  std::vector<Turn> order;
  order.reserve(claims.size());
  for (std::size_t i = 0; i < claims.size(); ++i) order.push_back({most(claims[i]) / weight(claims[i]), i});
  std::sort(order.begin(), order.end(),
            [](const Turn& a, const Turn& b) { return a.level != b.level ? a.level < b.level : a.claim < b.claim; });
  double shares = 0;
  for (const Turn& turn : order) shares += weight(claims[turn.claim]);
  std::vector<double> entitled(claims.size());
  double left = std::max(processors, 0.0);
  for (auto at = order.begin(); at != order.end(); ++at) {
    const CpuClaim& claim = claims[at->claim];
    const double each = left / shares;
    if (most(claim) >= each * weight(claim)) {
      for (; at != order.end(); ++at) entitled[at->claim] = each * weight(claims[at->claim]);
      break;
    }
    entitled[at->claim] = most(claim);
    left = std::max(left - most(claim), 0.0);
    shares -= weight(claim);
  }
  return entitled;
}

}  // namespace vmm::policy
