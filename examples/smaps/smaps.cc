#include "smaps/smaps.h"

#include <cinttypes>
#include <cstdio>

namespace smaps {

std::uint64_t anonymous() {
  std::FILE* const file = std::fopen("/proc/self/smaps", "r");
  if (file == nullptr) return 0;
  std::uint64_t total = 0;
  char line[512];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    std::uint64_t kib = 0;
    if (std::sscanf(line, "Anonymous: %" SCNu64, &kib) == 1) total += kib * 1024;
  }
  std::fclose(file);
  return total;
}

Rollup rollup() {
  Rollup sums;
  std::FILE* const file = std::fopen("/proc/self/smaps_rollup", "r");
  if (file == nullptr) return sums;
  char line[512];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    std::uint64_t kib = 0;
    if (std::sscanf(line, "Rss: %" SCNu64, &kib) == 1) sums.resident = kib * 1024;
    if (std::sscanf(line, "Pss: %" SCNu64, &kib) == 1) sums.proportional = kib * 1024;
  }
  std::fclose(file);
  return sums;
}

}  // namespace smaps
