#include "migrate/guest_migration.h"

#include <algorithm>

namespace vmm::migrate {
namespace {

constexpr unsigned kNodeBits = 16;

}  // namespace

void GuestMigration::begin(int node) noexcept {
  auto old = wanted_.load(std::memory_order_relaxed);
  std::uint64_t next;
  do next = ((old >> kNodeBits) + 1) << kNodeBits | static_cast<std::uint64_t>(node);
  while (!wanted_.compare_exchange_weak(old, next, std::memory_order_acq_rel));
  under_way_.store(true, std::memory_order_release);
}

Stayed GuestMigration::stayed() const noexcept {
  return {pinned_.load(std::memory_order_relaxed), no_memory_.load(std::memory_order_relaxed),
          refused_.load(std::memory_order_relaxed)};
}

base::Nanos GuestMigration::step(base::Nanos now) noexcept {
  using Seconds = std::chrono::duration<double>;
  constexpr auto kNever = base::Nanos::max();
  if (!under_way()) return kNever;
  if (const auto wanted = wanted_.load(std::memory_order_acquire); wanted != begun_) {
    begun_ = wanted;
    migrator_.begin(static_cast<int>(wanted & ((1U << kNodeBits) - 1)));
    pinned_ = no_memory_ = refused_ = 0;
    last_ = now;
    credit_ = std::min(credit_, 0.0);
  }
  const auto rate = static_cast<double>(this->rate());
  const auto in = [&](base::Nanos time) {
    return std::max(rate * Seconds(time).count(), static_cast<double>(kPageSize));
  };
  // Each slice asks for the places of a whole chunk: not for a page or two.
  const auto least = std::min(in(kBatch), static_cast<double>(kHugePageSize));
  credit_ = std::min(credit_ + rate * Seconds(std::max(now - last_, base::Nanos{})).count(), in(kSaved));
  last_ = now;
  if (rate == 0) return kNever;
  const auto until = [&](double bytes) { return base::Nanos(static_cast<base::Nanos::rep>(bytes / rate * 1e9) + 1); };
  if (credit_ < least) return until(least - credit_);
  const auto slice = migrator_.step(static_cast<std::uint64_t>(credit_) / kPageSize);
  credit_ -= static_cast<double>(slice.moved * kPageSize);
  moved_.fetch_add(slice.moved, std::memory_order_relaxed);
  pinned_.fetch_add(slice.pinned, std::memory_order_relaxed);
  no_memory_.fetch_add(slice.no_memory, std::memory_order_relaxed);
  refused_.fetch_add(slice.refused, std::memory_order_relaxed);
  // A node that is full is full for all that follows.
  if (!slice.ended && slice.no_memory == 0) return {};
  under_way_.store(false, std::memory_order_release);
  // Another pass was asked for meanwhile.
  if (wanted_.load(std::memory_order_acquire) != begun_) under_way_.store(true, std::memory_order_release);
  return under_way() ? base::Nanos{} : kNever;
}

}  // namespace vmm::migrate
