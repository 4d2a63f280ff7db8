#include "os/random_bytes.h"

#include <chrono>
#include <sys/random.h>

namespace vmm::os {

std::uint64_t random_u64() noexcept {
  std::uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) == static_cast<ssize_t>(sizeof value)) return value;
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) *
             0x9e3779b97f4a7c15ULL ^
         reinterpret_cast<std::uintptr_t>(&value);
}

}  // namespace vmm::os
