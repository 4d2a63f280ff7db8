#include "os/random_bytes.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <sys/random.h>

#include "base/error.h"

namespace vmm::os {

std::uint64_t random_u64() noexcept {
  std::uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) == static_cast<ssize_t>(sizeof value)) return value;
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) *
             0x9e3779b97f4a7c15ULL ^
         reinterpret_cast<std::uintptr_t>(&value);
}

Result<void> random_bytes(std::span<std::byte> buffer) {
  // Up to 256 bytes come whole, and no signal interrupts them.
  constexpr std::size_t kWhole = 256;
  while (!buffer.empty()) {
    const auto part = buffer.first(std::min(buffer.size(), kWhole));
    const auto got = ::getrandom(part.data(), part.size(), 0);
    if (got != static_cast<ssize_t>(part.size()))
      return base::fail_errno(got < 0 ? errno : EIO, "getrandom of " + std::to_string(part.size()) + " bytes",
                              "let the sandbox allow getrandom(2)");
    buffer = buffer.subspan(part.size());
  }
  return {};
}

}  // namespace vmm::os
