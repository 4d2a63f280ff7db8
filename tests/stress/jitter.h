// Jitter: makes some of the library's system calls come late, by giving up the processor before them, so that
// other threads get in between where they rarely would; and denies mbind where nodes are made up.
// Installed while it lives; begin and end it while the library makes no calls. Lock-free, allocates nothing.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <thread>

#include "os/call.h"
#include "stress/page_pattern.h"

namespace vmm::stress {

class Jitter final : public os::Interceptor {
 public:
  Jitter(std::uint64_t seed, bool delays, bool denies_mbind) noexcept
      : state_(seed), delays_(delays), denies_mbind_(denies_mbind) {
    os::set_interceptor(this);
  }
  ~Jitter() override { os::set_interceptor(nullptr); }
  Jitter(const Jitter&) = delete;
  Jitter& operator=(const Jitter&) = delete;

  int before(os::Call call) noexcept override {
    if (denies_mbind_ && call == os::Call::mbind) return EPERM;
    if (!delays_) return 0;
    const auto dice = mix(state_.fetch_add(0x9e3779b97f4a7c15ULL, std::memory_order_relaxed));
    if (dice % 16 == 0)
      for (auto yields = dice >> 32 & 7; yields > 0; --yields) std::this_thread::yield();
    return 0;
  }

 private:
  std::atomic<std::uint64_t> state_;
  const bool delays_, denies_mbind_;
};

}  // namespace vmm::stress
