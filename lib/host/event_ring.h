// EventRing: the host's ledger, the last events with their numbers, whether somebody listens to them or not.
// Thread-safety: any thread but fault threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "base/above.h"
#include "base/mutex.h"
#include "vmm/event.h"

namespace vmm::host {

class EventRing {
 public:
  static constexpr std::size_t kMost = 4096;

  void push(const Event& event) VMM_EXCLUDES(mutex_) {
    auto kept = std::make_shared<const Event>(event);
    base::MutexLock lock(mutex_);
    events_.push_back(std::move(kept));
    if (events_.size() <= kMost) return;
    events_.pop_front();
    ++first_;
  }

  // Those numbered `since` and up that are kept.
  EventLedger since(std::uint64_t since) const VMM_EXCLUDES(mutex_) {
    EventLedger ledger;
    std::vector<std::shared_ptr<const Event>> kept;
    std::uint64_t number;
    {
      // Pointers only: who tells of an event may hold what others wait for.
      base::MutexLock lock(mutex_);
      number = std::max(since, first_);
      ledger.next = first_ + events_.size();
      ledger.lost = base::above(first_, std::max<std::uint64_t>(since, 1));
      if (number < ledger.next)
        kept.assign(events_.begin() + static_cast<std::ptrdiff_t>(number - first_), events_.end());
    }
    ledger.records.reserve(kept.size());
    for (const auto& event : kept) ledger.records.push_back({number++, *event});
    return ledger;
  }

 private:
  mutable base::Mutex mutex_{base::LockRank::events};
  std::deque<std::shared_ptr<const Event>> events_ VMM_GUARDED_BY(mutex_);
  std::uint64_t first_ VMM_GUARDED_BY(mutex_) = 1;  // number of the first that is kept
};

}  // namespace vmm::host
