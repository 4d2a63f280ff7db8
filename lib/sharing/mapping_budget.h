// Mapping budget: how many mappings the frames that guests show may cost the process, whose limit (vm.max_map_count) is
// everybody's: at it neither malloc nor threads nor taking frames out would find one.
//
// Longer runs bring more for a mapping: short ones are shared while there are many left only.
// Thread-safety: any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace vmm::sharing {

class MappingBudget {
 public:
  // A run in the midst of other memory.
  static constexpr std::uint64_t kOfARun = 2;
  // A run of fewer pages is short.
  static constexpr std::uint64_t kLong = 8;

  explicit MappingBudget(std::uint64_t most) noexcept : most_(most) {}
  // Of what a process with that limit, and so many mappings in use, has left, an eighth of the limit and 1,024 are kept
  // for others and for taking frames out.
  static std::uint64_t most_of(std::uint64_t limit, std::uint64_t in_use) noexcept {
    const auto kept = in_use + limit / 8 + 1024;
    return limit - (kept < limit ? kept : limit);
  }

  // A run of so many pages may be shared, beside others that cost `pending` mappings.
  bool permits(std::uint64_t pages, std::uint64_t pending = 0) const noexcept {
    const auto used = this->used() + pending;
    if (used + kOfARun > most_) return false;
    if (used >= most_ / 4 * 3) return pages >= 64;
    return pages >= kLong || used < most_ / 2;
  }
  // No mappings are left for short runs; or so many that memory is worth more than they are.
  bool scarce() const noexcept { return used() >= most_ / 2; }
  bool plentiful() const noexcept { return used() < most_ / 4; }
  void add(std::uint64_t mappings) noexcept { used_.fetch_add(mappings, std::memory_order_relaxed); }
  void remove(std::uint64_t mappings) noexcept { used_.fetch_sub(mappings, std::memory_order_relaxed); }
  std::uint64_t used() const noexcept { return used_.load(std::memory_order_relaxed); }
  std::uint64_t most() const noexcept { return most_; }

 private:
  const std::uint64_t most_;
  std::atomic<std::uint64_t> used_{0};
};

}  // namespace vmm::sharing
