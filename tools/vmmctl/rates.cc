#include "rates.h"

#include <algorithm>
#include <array>

namespace vmmctl {
namespace {

// What never falls while a guest lives.
constexpr std::array kCounters{
    &Guest::faults,     &Guest::fills,       &Guest::rescues,  &Guest::swap_ins,   &Guest::stalls,
    &Guest::swapped_in, &Guest::swapped_out, &Guest::migrated, &Guest::migrations, &Guest::stops,
    &Guest::balloon_popped, &Guest::balloon_pops};

std::optional<std::uint64_t> mean_between(const Latency& before, const Latency& now) {
  if (now.count <= before.count || now.sum_ns <= before.sum_ns) return std::nullopt;
  return (now.sum_ns - before.sum_ns) / (now.count - before.count);
}

}  // namespace

bool same_guest(const Guest& before, const Guest& now) {
  if (before.name != now.name) return false;
  if (before.id != 0 || now.id != 0) return before.id == now.id;
  return std::none_of(kCounters.begin(), kCounters.end(),
                      [&](std::uint64_t Guest::*counter) { return now.*counter < before.*counter; });
}

EarlierGuests::EarlierGuests(const Snapshot& before) {
  for (const Guest& guest : before.guests) by_name_.emplace(guest.name, &guest);
}

const Guest* EarlierGuests::find(const Guest& now) const {
  const auto at = by_name_.find(now.name);
  return at != by_name_.end() && same_guest(*at->second, now) ? at->second : nullptr;
}

std::uint64_t grown(const Guest& now, const Guest* before, std::uint64_t Guest::*counter) {
  const std::uint64_t was = before != nullptr ? before->*counter : 0;
  return now.*counter > was ? now.*counter - was : 0;
}

std::map<std::string, GuestRates> rates_between(const Snapshot& before, const Snapshot& now) {
  std::map<std::string, GuestRates> rates;
  if (now.time_ns <= before.time_ns) return rates;
  const double seconds = static_cast<double>(now.time_ns - before.time_ns) / 1e9;
  const EarlierGuests earlier(before);
  for (const Guest& guest : now.guests) {
    const Guest* was = earlier.find(guest);
    const auto rate = [&](std::uint64_t Guest::*counter) {
      return static_cast<double>(grown(guest, was, counter)) / seconds;
    };
    GuestRates of;
    of.swapped_in = rate(&Guest::swapped_in);
    of.swapped_out = rate(&Guest::swapped_out);
    of.migrated = rate(&Guest::migrated);
    of.popped = rate(&Guest::balloon_popped);
    of.faults = rate(&Guest::faults);
    of.fills = rate(&Guest::fills);
    of.rescues = rate(&Guest::rescues);
    of.swap_ins = rate(&Guest::swap_ins);
    of.stalls = rate(&Guest::stalls);
    of.fault_mean_ns = mean_between(was != nullptr ? was->fault_latency : Latency(), guest.fault_latency);
    of.swap_in_mean_ns = mean_between(was != nullptr ? was->swap_in_latency : Latency(), guest.swap_in_latency);
    rates.emplace(guest.name, of);
  }
  return rates;
}

}  // namespace vmmctl
