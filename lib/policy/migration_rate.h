// Migration rate: how fast the pages of a guest that has a new home are moved after it. For one call a rebalance
// period.
//
// Slow at first, faster while it stays, so that a guest that leaves again soon does not drag its memory along:
// kFirstPart of its memory a period for kSettlingPeriods, then twice as much each period, up to kGreatestPart. Of what
// is still remote at most kRemotePart a period, so that the end does not disturb, until kRemainder is left. What the
// destination has free above its reserve is not used up by more than kFreePart a period. A guest that was homed back is
// left in peace for kSettlingPeriods; then what had left comes home as if it had always been remote: at the settled
// rate. ESX manages the rate likewise and tells no figures (vSphere Resource Management, "Using NUMA Systems with
// ESXi"); these are from two bounds: a guest that comes back within two periods has had at most 5 % of its memory
// moved, and of one that stays 99 % has followed after ten, if maximum and destination permit. Thread-safety: pure
// function of its arguments.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace vmm::policy {

// Bytes, and bytes a second.
struct MigrationSnapshot {
  std::chrono::nanoseconds now{};                   // of a clock that does not go back
  std::optional<std::chrono::nanoseconds> rehomed;  // when; none: it has always been here
  bool homed_back = false;                          // the last move was back to the node where it had been before
  std::chrono::nanoseconds period{std::chrono::seconds(2)};

  std::uint64_t resident = 0;
  std::uint64_t remote = 0;            // of these, not on the home node
  std::uint64_t destination_free = 0;  // of the home node
  std::uint64_t destination_memory = 0;
  double min_free = 0.06;     // share of it that is left free
  std::uint64_t maximum = 0;  // 0: none
};

struct MigrationRate {
  std::uint64_t bytes_per_second = 0;
  std::string reason;  // with figures
};

inline constexpr double kFirstPart = 0.02;
inline constexpr int kSettlingPeriods = 2;
inline constexpr double kGreatestPart = 0.64;
inline constexpr double kRemotePart = 2.0 / 3;
inline constexpr std::uint64_t kRemainder = 16ULL << 20;
inline constexpr double kFreePart = 0.5;

MigrationRate plan_migration_rate(const MigrationSnapshot& snapshot);

}  // namespace vmm::policy
