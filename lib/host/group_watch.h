// GroupWatch: how much of the budget there is no room for in the process's control group, because its limit was lowered
// or others in it have grown. Guests are reclaimed from before the kernel kills.
// Thread-safety: the scheduler's thread only.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "os/memory_limit.h"
#include "region/guest_memory.h"

namespace vmm::host {

class GroupWatch {
 public:
  // Pages of the budget to withhold. `guests` are the managed ones, whom a zero page costs credit but no memory until
  // it is written; `min_free` is the share of the budget that is kept free. Takes about 0.2 ms, and where room is
  // short a count of their pages, for at most 1 % of the time.
  std::uint64_t measure(const std::vector<region::GuestMemory*>& guests, const region::Credit& credit,
                        double min_free, base::Nanos now);
  // As of the last measure(): whether a group limits the process, and which.
  bool limited() const noexcept { return limit_.cgroup != 0; }
  const os::MemoryLimit& limit() const noexcept { return limit_; }

 private:
  std::uint64_t hollow(const std::vector<region::GuestMemory*>& guests, base::Nanos now);

  os::MemoryLimit limit_;
  base::Nanos next_count_{};
  std::uint64_t counted_ = 0;  // zero pages at the last count
  std::uint64_t filled_ = 0;   // GuestCounters::zero_pages of all then
};

}  // namespace vmm::host
