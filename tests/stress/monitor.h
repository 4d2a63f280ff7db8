// Monitor: looks at a running stress test from outside. Five times a second it adds up what the kernel says the
// guests and their staging areas hold (Rss in /proc/self/smaps) and what the library says of its own memory, and
// compares with the budget; and it sees to it that every thread gets on.
//
// /proc/self/smaps is not read at one moment: a page that moves from a guest to its staging area may be counted
// twice, or not at all. So one reading above the limit is followed at once by another, and only if both are above
// does the process end. Every page in fact above the budget for longer than two readings is thus found.
// Thread-safety: created and destroyed by one thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "stress/workload.h"
#include "stress/world.h"

namespace vmm::stress {

class Monitor {
 public:
  Monitor(World& world, const std::vector<std::unique_ptr<Workload>>& workloads);
  // Ends the monitor's thread.
  ~Monitor();

  // Bytes, and how many readings there were.
  std::uint64_t most_seen() const noexcept { return most_seen_; }
  std::uint64_t readings() const noexcept { return readings_; }
  std::uint64_t single_excesses() const noexcept { return single_excesses_; }

 private:
  struct Last {
    std::uint64_t number = 0;  // of the operation; of who settles the world, the address
    std::chrono::steady_clock::time_point since;
  };
  void run();
  void check_budget();
  void check_progress();
  std::uint64_t consumed();

  World& world_;
  const std::vector<std::unique_ptr<Workload>>& workloads_;
  std::vector<Last> last_;  // of the workloads, and of who settles the world
  std::atomic<std::uint64_t> most_seen_{0}, readings_{0}, single_excesses_{0};
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  std::thread thread_;
};

}  // namespace vmm::stress
