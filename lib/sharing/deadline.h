// Deadline: when a step has taken long enough, for others wait for the worker.
// Thread-safety: immutable.
#pragma once

#include <chrono>

#include "base/clock.h"

namespace vmm::sharing {

class Deadline {
 public:
  explicit Deadline(base::Nanos most) noexcept : end_(now() + most) {}
  bool passed() const noexcept { return now() > end_; }

 private:
  static base::Nanos now() noexcept { return std::chrono::steady_clock::now().time_since_epoch(); }
  base::Nanos end_;
};

}  // namespace vmm::sharing
