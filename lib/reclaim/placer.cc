#include "reclaim/placer.h"

#include <algorithm>
#include <utility>

namespace vmm::reclaim {

Result<void> Placer::start(const std::string& name, std::function<void(std::size_t)> place) {
  place_ = std::move(place);
  auto thread = os::Thread::start(name, [this] { help(); });
  if (!thread) return tl::unexpected(thread.error());
  thread_ = std::move(*thread);
  return {};
}

void Placer::end() noexcept {
  if (!thread_.joinable()) return;
  stop_.store(true, std::memory_order_release);
  call_helper();
  thread_.join();
}

void Placer::arrived(std::size_t index) noexcept {
  tickets_[index].store(next_arrival_++, std::memory_order_release);
}

std::size_t Placer::take() noexcept {
  for (;;) {
    std::size_t oldest = kNone;
    std::uint64_t ticket = ~std::uint64_t{0};
    for (std::size_t i = 0; i < kReads; ++i) {
      const auto t = tickets_[i].load(std::memory_order_acquire);
      if (t < kFirstArrival || t >= ticket) continue;
      ticket = t;
      oldest = i;
    }
    if (oldest == kNone ||
        tickets_[oldest].compare_exchange_strong(ticket, kTaken, std::memory_order_acquire, std::memory_order_relaxed))
      return oldest;
  }
}

bool Placer::waiting() const noexcept {
  return std::any_of(tickets_.begin(), tickets_.end(),
                     [](const auto& t) { return t.load(std::memory_order_relaxed) >= kFirstArrival; });
}

void Placer::call_helper() noexcept {
  calls_.fetch_add(1, std::memory_order_release);
  calls_.notify_one();
}

void Placer::help() noexcept {
  for (;;) {
    // Before it is looked what there is to do: a call since then ends the wait below.
    const auto calls = calls_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_acquire)) return;
    for (auto index = take(); index != kNone; index = take()) {
      place_(index);
      // From here on the read, and its guest, are the fault thread's again.
      tickets_[index].store(kPlaced, std::memory_order_seq_cst);
      if (wanted_.exchange(false, std::memory_order_seq_cst)) bell_->ring();
    }
    calls_.wait(calls, std::memory_order_acquire);
  }
}

}  // namespace vmm::reclaim
