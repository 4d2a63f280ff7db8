#include "host/group_watch.h"

#include <algorithm>
#include <chrono>

#include "host/resident_count.h"
#include "policy/withhold.h"

namespace vmm::host {
// Pages of `guests` that are zero pages, or were at the last count: too many rather than too few.
std::uint64_t GroupWatch::hollow(const std::vector<region::GuestMemory*>& guests, base::Nanos now) {
  std::uint64_t filled = 0;
  for (const auto* guest : guests) filled += guest->counters.zero_pages.load(std::memory_order_relaxed);
  if (now >= next_count_) {
    const auto begin = std::chrono::steady_clock::now();
    counted_ = 0;
    for (const auto* guest : guests) {
      const auto held = guest->counters.resident.load(std::memory_order_relaxed) -
                        guest->counters.staging.load(std::memory_order_relaxed);
      counted_ += held - std::min(held, resident_count(*guest));
    }
    filled_ = filled;
    next_count_ = now + (std::chrono::steady_clock::now() - begin) * kRestAfterCount;
  }
  return counted_ + (filled - std::min(filled, filled_));
}

std::uint64_t GroupWatch::measure(const std::vector<region::GuestMemory*>& guests, const region::Credit& credit,
                                  double min_free, base::Nanos now) {
  limit_ = os::memory_limit();
  policy::GroupRoom room;
  room.limit = limit_.cgroup;
  room.used = limit_.cgroup_used - std::min(limit_.cgroup_used, limit_.cgroup_cache);
  room.min_free = min_free;
  room.consumed = credit.consumed() * kPageSize;
  room.budget = credit.budget() * kPageSize;
  // The count is dear: only where it can matter.
  room.hollow = room.consumed;
  if (policy::plan_withheld(room) == 0) return 0;
  room.hollow = std::min(room.consumed, hollow(guests, now) * kPageSize);
  return policy::plan_withheld(room) / kPageSize;
}

}  // namespace vmm::host
