// HybridPoll: how long to look for a completion before sleeping, as cpuidle's haltpoll does for idle processors.
//
// A processor that went to sleep needs some 5-50 us to wake, in a virtual machine more; a fast device answers in
// little more than that. Looking pays while the device is that fast and nobody else wants the processor.
// Thread-safety: a value of one thread; pure apart from its own history.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"

namespace vmm::policy {

class HybridPoll {
 public:
  static constexpr base::Nanos kLongest = std::chrono::microseconds(300);
  // A yield that takes longer has let somebody else run.
  static constexpr base::Nanos kYieldAlone = std::chrono::microseconds(4);
  // Waits without a look after one that was in somebody's way: more each time, for who yields waits for its turn.
  static constexpr std::uint32_t kShortestRest = 8, kLongestRest = 1024;

  // How long to look before this wait's sleep; 0 = sleep at once.
  base::Nanos begin() noexcept {
    if (resting_ > 0) {
      --resting_;
      return base::Nanos{0};
    }
    const auto look = 2 * usual_;
    return look > kLongest ? base::Nanos{0} : look;
  }

  // The completion came after that long, found by a look or by sleeping.
  void came(base::Nanos after, bool by_look) noexcept {
    usual_ += (std::min(after, 4 * kLongest) - usual_) / 8;
    if (by_look) rest_ = std::max(rest_ / 2, kShortestRest);
  }

  // A yield took that long. True: others want the processor, the look ends.
  bool disturbs(base::Nanos yield) noexcept {
    if (yield <= kYieldAlone) return false;
    resting_ = rest_;
    rest_ = std::min(rest_ * 2, kLongestRest);
    return true;
  }

 private:
  base::Nanos usual_ = std::chrono::microseconds(50);
  std::uint32_t rest_ = kShortestRest;
  std::uint32_t resting_ = 0;
};

}  // namespace vmm::policy
