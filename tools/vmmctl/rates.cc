#include "rates.h"

namespace vmmctl {

std::map<std::string, GuestRates> rates_between(const Snapshot& before, const Snapshot& now) {
  std::map<std::string, GuestRates> rates;
  if (now.time_ns <= before.time_ns) return rates;
  const double seconds = static_cast<double>(now.time_ns - before.time_ns) / 1e9;
  std::map<std::string, const Guest*> earlier;
  for (const Guest& guest : before.guests) earlier.emplace(guest.name, &guest);
  for (const Guest& guest : now.guests) {
    const auto at = earlier.find(guest.name);
    if (at == earlier.end()) continue;
    bool fell = false;
    const auto rate = [&](std::uint64_t Guest::*counter) {
      const std::uint64_t was = at->second->*counter;
      const std::uint64_t is = guest.*counter;
      fell = fell || is < was;
      return fell ? 0 : static_cast<double>(is - was) / seconds;
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
    if (!fell) rates.emplace(guest.name, of);
  }
  return rates;
}

}  // namespace vmmctl
