#include "policy/cpu_entitlement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "base/random.h"

namespace vmm::policy {
namespace {

TEST(CpuEntitlement, Table) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double all = std::numeric_limits<double>::infinity();
  struct Case {
    const char* name;
    std::vector<CpuClaim> claims;
    double processors;
    std::vector<double> entitled;
  };
  for (const Case& c : {
           Case{"nobody", {}, 4, {}},
           Case{"enough for all", {{1, 1}, {100, 2}}, 4, {1, 2}},
           Case{"by shares", {{2000, 4}, {1000, 4}}, 3, {2, 1}},
           Case{"equal shares", {{1, 1}, {1, 1}, {1, 1}}, 2, {2.0 / 3, 2.0 / 3, 2.0 / 3}},
           Case{"what one cannot use is the others'", {{3, 1}, {2, 4}, {1, 4}}, 4, {1, 2, 1}},
           Case{"none wants anything", {{1, 0}, {1, 0}}, 4, {0, 0}},
           Case{"no processors", {{1, 1}}, 0, {0}},
           Case{"no shares count as one", {{0, 4}, {1, 4}}, 2, {1, 1}},
           Case{"wants that are none", {{1, nan}, {1, -2}, {1, 1}}, 4, {0, 0, 1}},
           Case{"wants everything", {{1, all}, {1, 1}}, 4, {3, 1}},
       }) {
    const auto entitled = cpu_entitlements(c.claims, c.processors);
    ASSERT_EQ(entitled.size(), c.entitled.size()) << c.name;
    for (std::size_t i = 0; i < entitled.size(); ++i) EXPECT_NEAR(entitled[i], c.entitled[i], 1e-12) << c.name << i;
  }
}

TEST(CpuEntitlement, EqualClaimsAreEntitledToTheSame) {
  const auto entitled = cpu_entitlements(std::vector<CpuClaim>(7, {3, 1}), 5);
  for (const double one : entitled) EXPECT_EQ(one, entitled[0]);
}

// Nobody above what it can use; all is given where it can be used; who has less than it can use has no less for its
// shares than anybody else.
TEST(CpuEntitlement, IsMaxMinFair) {
  base::Random random(11);
  for (int round = 0; round < 500; ++round) {
    std::vector<CpuClaim> claims(1 + random.below(20));
    double usable = 0;
    for (CpuClaim& claim : claims) {
      claim = {random.below(2000), random.below(4) == 0 ? 0 : 4 * random.unit()};
      usable += claim.most;
    }
    const double processors = 20 * random.unit();
    const auto entitled = cpu_entitlements(claims, processors);
    double given = 0;
    double greatest = 0;
    const auto for_shares = [&](std::size_t i) {
      return entitled[i] / static_cast<double>(std::max<std::uint64_t>(claims[i].shares, 1));
    };
    for (std::size_t i = 0; i < claims.size(); ++i) {
      EXPECT_LE(entitled[i], claims[i].most + 1e-12);
      given += entitled[i];
      greatest = std::max(greatest, for_shares(i));
    }
    EXPECT_NEAR(given, std::min(usable, processors), 1e-9);
    for (std::size_t i = 0; i < claims.size(); ++i) {
      if (entitled[i] < claims[i].most - 1e-9) {
        EXPECT_NEAR(for_shares(i), greatest, 1e-9 * greatest + 1e-15);
      }
    }
  }
}

}  // namespace
}  // namespace vmm::policy
