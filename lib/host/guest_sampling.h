// GuestSampling: the active memory of one guest, sampled period after period, as the arbiter and statistics read it.
// Thread-safety: the worker of the guest's node.
#pragma once

#include "base/clock.h"
#include "base/random.h"
#include "policy/active_memory.h"
#include "reclaim/sampler.h"

namespace vmm::host {

struct SamplingOptions {
  std::uint32_t pages = 100;  // 0 = none
  base::Nanos period = std::chrono::seconds(60);
};

class GuestSampling {
 public:
  explicit GuestSampling(region::GuestMemory& guest) noexcept : guest_(guest), sampler_(guest) {}

  // Ends the period when it is over, begins the next one if `begin`, and publishes the estimate.
  void look(base::Nanos now, const SamplingOptions& options, bool begin, base::Random& random);
  // Nothing is watched any more; what is known stays.
  void end() noexcept;

  // As Sampler::release_parked(), hand_on_again() and parked().
  std::uint64_t release(reclaim::Evictor& evictor, base::Nanos now, std::uint64_t most);
  void hand_on_again(reclaim::Evictor& evictor);
  std::uint64_t parked() const noexcept { return under_way_ ? sampler_.parked() : 0; }

 private:
  void publish() noexcept;

  region::GuestMemory& guest_;
  reclaim::Sampler sampler_;
  policy::ActiveHistory history_;
  base::Nanos since_{};
  bool under_way_ = false;
};

}  // namespace vmm::host
