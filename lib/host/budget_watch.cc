#include "host/budget_watch.h"

#include <algorithm>

#include "host/resident_count.h"

namespace vmm::host {
namespace {

constexpr base::Nanos kLeast = std::chrono::milliseconds(50);

}  // namespace

std::uint64_t BudgetWatch::measure(const std::vector<region::GuestMemory*>& natives, base::Nanos now) {
  if (natives.empty()) {
    credit_.set_native(0);
    return 0;
  }
  const auto others = [&] {
    return static_cast<std::int64_t>(memory_.pages()) - static_cast<std::int64_t>(credit_.charged()) +
           static_cast<std::int64_t>(credit_.of_files());
  };
  if (!counted_ || now >= next_count_) {
    // Before the count: what is touched during it is then seen twice, not missed.
    others_at_count_ = others();
    const auto begin = std::chrono::steady_clock::now();
    exact_ = 0;
    for (auto* guest : natives) {
      const auto pages = resident_count(*guest);
      guest->native_pages.store(pages, std::memory_order_relaxed);
      exact_ += pages;
    }
    const base::Nanos took = std::chrono::steady_clock::now() - begin;
    next_count_ = now + std::max(kLeast, took * kRestAfterCount);
    counted_ = true;
  }
  // Also right after a count: on a busy machine it takes long enough for much to be touched meanwhile.
  std::uint64_t estimate =
      exact_ + static_cast<std::uint64_t>(std::max<std::int64_t>(others() - others_at_count_, 0));
  std::uint64_t most = 0;
  for (const auto* guest : natives) most += guest->pages();
  estimate = std::min(estimate, most);
  credit_.set_native(estimate);
  return estimate;
}

}  // namespace vmm::host
