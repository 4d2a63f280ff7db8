#include "policy/active_memory.h"

#include <algorithm>
#include <cmath>

namespace vmm::policy {

ActiveHistory next(const ActiveHistory& history, const ActiveSample& whole) noexcept {
  if (whole.pages == 0) return history;
  const double f = whole.fraction();
  const auto blend = [&](double average, double weight) {
    return history.periods == 0 ? f : average + weight * (f - average);
  };
  return {blend(history.slow, kSlowWeight), blend(history.fast, kFastWeight), f, history.periods + 1, whole.pages};
}

ActiveEstimate estimate(const ActiveHistory& history, const ActiveSample& running,
                        std::uint64_t guest_pages) noexcept {
  if (history.periods == 0) return {1, 1, false};
  return {std::max({history.slow, history.fast, running.fraction()}),
          standard_error(history.last, history.pages, guest_pages), true};
}

double standard_error(double f, std::uint64_t n, std::uint64_t of) noexcept {
  if (n == 0) return 1;
  if (n >= of) return 0;
  const auto sample = static_cast<double>(n), population = static_cast<double>(of);
  const double variance = std::max(f * (1 - f), 0.0) / sample;
  return std::sqrt(variance * (population - sample) / (population - 1));
}

}  // namespace vmm::policy
