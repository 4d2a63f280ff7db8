// PoolCharge: the pages that the guests of a pool hold together, its pools' guests included, against its limit.
// Thread-safety: every function from any thread, fault threads included; lock-free. Parents outlive their children.
#pragma once

#include <atomic>
#include <cstdint>

namespace vmm::region {

class PoolCharge {
 public:
  explicit PoolCharge(PoolCharge* parent) noexcept : parent_(parent) {}

  void charge(std::uint64_t pages) noexcept {
    for (auto* p = this; p != nullptr; p = p->parent_)
      p->pages_.fetch_add(static_cast<std::int64_t>(pages), std::memory_order_relaxed);
  }
  void release(std::uint64_t pages) noexcept {
    for (auto* p = this; p != nullptr; p = p->parent_)
      p->pages_.fetch_sub(static_cast<std::int64_t>(pages), std::memory_order_relaxed);
  }
  // With that many more, this pool or one above it would be over its limit.
  bool over_limit(std::uint64_t more) const noexcept {
    for (const auto* p = this; p != nullptr; p = p->parent_) {
      const auto most = p->limit.load(std::memory_order_relaxed);
      if (most != 0 && p->pages() + more > most) return true;
    }
    return false;
  }
  // While a guest changes pools, both may become wrong by what it takes in that moment, until they are corrected.
  std::uint64_t pages() const noexcept {
    const auto n = pages_.load(std::memory_order_relaxed);
    return n > 0 ? static_cast<std::uint64_t>(n) : 0;
  }

  std::int64_t raw_pages() const noexcept { return pages_.load(std::memory_order_relaxed); }
  // This pool's charge alone is too high by that many.
  void correct(std::int64_t drift) noexcept { pages_.fetch_sub(drift, std::memory_order_relaxed); }

  std::atomic<std::uint64_t> limit{0};  // pages; 0 = none

 private:
  PoolCharge* const parent_;
  std::atomic<std::int64_t> pages_{0};
};

}  // namespace vmm::region
