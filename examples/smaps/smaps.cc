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

}  // namespace smaps
