#include "host/guest_sampling.h"

namespace vmm::host {

void GuestSampling::look(base::Nanos now, const SamplingOptions& options, bool begin, base::Random& random) {
  if (options.pages == 0) {
    end();
    history_ = {};
    publish();
    return;
  }
  if (under_way_ && now - since_ >= options.period) {
    history_ = policy::next(history_, sampler_.end());
    under_way_ = false;
  }
  if (!under_way_ && begin && guest_.adopted()) {
    under_way_ = sampler_.begin(options.pages, now, random) > 0;
    since_ = now;
  }
  publish();
}

void GuestSampling::end() noexcept {
  if (under_way_) static_cast<void>(sampler_.end());
  under_way_ = false;
}

std::uint64_t GuestSampling::release(reclaim::Evictor& evictor, base::Nanos now, std::uint64_t most) {
  return under_way_ ? sampler_.release_parked(evictor, now, most) : 0;
}

void GuestSampling::hand_on_again(reclaim::Evictor& evictor) {
  if (under_way_) sampler_.hand_on_again(evictor);
}

void GuestSampling::publish() noexcept {
  const auto running = under_way_ ? sampler_.so_far() : policy::ActiveSample{};
  const auto e = policy::estimate(history_, running, guest_.pages());
  auto& a = guest_.arbitration;
  a.active.store(e.fraction, std::memory_order_relaxed);
  a.active_error.store(e.error, std::memory_order_relaxed);
  a.sampled.store(history_.last, std::memory_order_relaxed);
  a.samples.store(history_.periods, std::memory_order_relaxed);
}

}  // namespace vmm::host
