#include "policy/migration_rate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "base/text.h"

namespace vmm::policy {
namespace {

using base::bytes_text;

std::uint64_t rounded(double bytes) {
  if (bytes >= 0x1p64) return std::numeric_limits<std::uint64_t>::max();
  return static_cast<std::uint64_t>(std::max(bytes, 0.0));
}

std::string figure(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

MigrationRate none(std::string why) { return {0, "nothing is moved: " + std::move(why)}; }

}  // namespace

MigrationRate plan_migration_rate(const MigrationSnapshot& s) {
  using Seconds = std::chrono::duration<double>;
  if (s.remote == 0) return none("no memory is remote");
  const double period = std::max(Seconds(s.period).count(), 1e-3);
  const double stayed = s.rehomed ? std::max(Seconds(s.now - *s.rehomed).count(), 0.0) / period : HUGE_VAL;
  const bool settling = stayed < kSettlingPeriods;
  if (s.homed_back && settling)
    return none("the guest was homed back " + figure(stayed) + " periods ago, " + bytes_text(s.remote) +
                " are still remote");
  const double kept = std::clamp(s.min_free, 0.0, 1.0) * static_cast<double>(s.destination_memory);
  const std::uint64_t room = s.destination_free - std::min(s.destination_free, rounded(kept));
  if (room == 0)
    return none("the destination has " + bytes_text(s.destination_free) + " free, and " + bytes_text(rounded(kept)) +
                " are kept");

  double part = kGreatestPart;
  if (settling)
    part = kFirstPart;
  else if (!s.homed_back && std::isfinite(stayed))
    part = std::min(kGreatestPart, kFirstPart * std::exp2(std::floor(std::min(stayed, 64.0)) - kSettlingPeriods + 1));
  const double memory = static_cast<double>(std::max(s.resident, s.remote));
  double bytes = part * memory;  // a period
  std::string why = figure(100 * part) + " % of " + bytes_text(rounded(memory)) + " a period, " +
                    (std::isfinite(stayed) ? "homed here " + figure(stayed) + " periods ago" : "long remote");

  if (!settling && s.remote <= kRemainder) {
    bytes = static_cast<double>(s.remote);
    why = "the last " + bytes_text(s.remote);
  } else if (const double end = kRemotePart * static_cast<double>(s.remote); bytes > end) {
    bytes = end;
    why = figure(100 * kRemotePart) + " % of the " + bytes_text(s.remote) + " still remote a period";
  }
  if (const double end = kFreePart * static_cast<double>(room); bytes > end) {
    bytes = end;
    why = figure(100 * kFreePart) + " % a period of the " + bytes_text(room) +
          " that the destination has free above what is kept";
  }
  MigrationRate rate{std::max<std::uint64_t>(rounded(bytes / period), 1), {}};
  if (s.maximum != 0 && rate.bytes_per_second > s.maximum) {
    rate.bytes_per_second = s.maximum;
    why = "the configured maximum; without it, " + why;
  }
  rate.reason = bytes_text(rate.bytes_per_second) + "/s: " + why;
  return rate;
}

}  // namespace vmm::policy
