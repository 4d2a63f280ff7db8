#include "base/check.h"

#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace vmm::base {

void check_failed(const char* file, int line, const char* what, std::uint64_t left,
                  std::uint64_t right) noexcept {
  char text[512];
  const int length =
      std::snprintf(text, sizeof text, "libvmm: %s:%d: broken invariant: %s (left %llu, right %llu)\n", file, line,
                    what, static_cast<unsigned long long>(left), static_cast<unsigned long long>(right));
  if (length > 0) {
    const auto bytes = static_cast<std::size_t>(length) < sizeof text ? static_cast<std::size_t>(length) : sizeof text;
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, bytes);
  }
  std::abort();
}

}  // namespace vmm::base
