#include "base/text.h"

#include <array>
#include <cstddef>
#include <cstdio>

#include "vmm/units.h"

namespace vmm::base {

std::string bytes_text(std::uint64_t bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < KiB) return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
  std::uint64_t size = KiB;
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && bytes / size >= 1024) {
    size *= 1024;
    ++unit;
  }
  char text[32];
  if (bytes % size == 0)
    std::snprintf(text, sizeof text, "%llu %s", static_cast<unsigned long long>(bytes / size), kUnits[unit]);
  else
    std::snprintf(text, sizeof text, "%.1f %s", static_cast<double>(bytes) / static_cast<double>(size), kUnits[unit]);
  return text;
}

}  // namespace vmm::base
