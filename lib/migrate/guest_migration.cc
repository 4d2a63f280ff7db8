#include "migrate/guest_migration.h"

#include <algorithm>

namespace vmm::migrate {
namespace {

constexpr unsigned kNodeBits = 16;

}  // namespace

void GuestMigration::begin(int node) noexcept {
  told_full_.store(false, std::memory_order_relaxed);
  const auto number = (wanted_.load(std::memory_order_relaxed) >> kNodeBits) + 1;
  wanted_.store(number << kNodeBits | static_cast<std::uint64_t>(node), std::memory_order_release);
}

MigrationPass GuestMigration::pass() const noexcept {
  return {pass_moved_.load(std::memory_order_relaxed), pinned_.load(std::memory_order_relaxed),
          no_memory_.load(std::memory_order_relaxed), refused_.load(std::memory_order_relaxed)};
}

base::Nanos GuestMigration::step(base::Nanos now) noexcept {
  using Seconds = std::chrono::duration<double>;
  constexpr auto kNever = base::Nanos::max();
  if (!under_way()) return kNever;
  if (const auto wanted = wanted_.load(std::memory_order_acquire); wanted != begun_) {
    begun_ = wanted;
    migrator_.begin(static_cast<int>(wanted & ((1U << kNodeBits) - 1)));
    pass_moved_ = pinned_ = no_memory_ = refused_ = 0;
    full_ = false;
    last_ = now;
    credit_ = std::min(credit_, 0.0);
    needed_ = 0;
  }
  full_ |= told_full_.exchange(false, std::memory_order_acq_rel);
  std::uint64_t most = 0;
  if (!full_) {
    const auto rate = static_cast<double>(this->rate());
    const auto in = [&](base::Nanos time) {
      return std::max(rate * Seconds(time).count(), static_cast<double>(kPageSize));
    };
    // Each slice asks for the places of a whole chunk: not for a page or two.
    const auto least = std::max(std::min(in(kBatch), static_cast<double>(kHugePageSize)), needed_);
    const auto more = rate * Seconds(std::max(now - last_, base::Nanos{})).count();
    credit_ = std::min(credit_ + more, std::max(in(kSaved), needed_));
    last_ = now;
    if (rate == 0) return kNever;
    if (credit_ < least) return base::Nanos(static_cast<base::Nanos::rep>((least - credit_) / rate * 1e9) + 1);
    most = static_cast<std::uint64_t>(credit_) / kPageSize;
  }
  const auto slice = full_ ? migrator_.count() : migrator_.step(most);
  credit_ -= static_cast<double>(slice.moved * kPageSize);
  needed_ = static_cast<double>(slice.needs * kPageSize);
  moved_.fetch_add(slice.moved, std::memory_order_relaxed);
  pass_moved_.fetch_add(slice.moved, std::memory_order_relaxed);
  pinned_.fetch_add(slice.pinned, std::memory_order_relaxed);
  refused_.fetch_add(slice.refused, std::memory_order_relaxed);
  // A node that is full is full for all that follows, which is looked at once more, and counted.
  if (full_) no_memory_.fetch_add(slice.no_memory, std::memory_order_relaxed);
  else full_ = slice.no_memory > 0;
  // Should another pass have been asked for meanwhile, this is not that one's end.
  if (slice.ended) ended_.store(begun_, std::memory_order_release);
  return under_way() ? base::Nanos{} : kNever;
}

}  // namespace vmm::migrate
