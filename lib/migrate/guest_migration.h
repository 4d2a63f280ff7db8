// GuestMigration: a guest's memory follows it to a new home, at the rate that it is told, in passes over the guest.
// What stays in a pass - pinned pages, a full node - another pass may try again; who asks for passes says how often.
// Thread-safety: begin(), set_rate() and what tells figures may be called from any thread; step() by the worker of the
// guest's home node alone.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "migrate/page_migrator.h"
#include "region/guest_memory.h"

namespace vmm::migrate {

// Pages that one pass has left where they were, by why.
struct Stayed {
  std::uint64_t pinned = 0, no_memory = 0, refused = 0;
};

class GuestMigration {
 public:
  explicit GuestMigration(region::GuestMemory& guest) noexcept : migrator_(guest) {}

  // A pass to `node` begins with the next step; one that is under way is over.
  void begin(int node) noexcept;
  // Bytes a second; 0: nothing moves.
  void set_rate(std::uint64_t rate) noexcept { rate_.store(rate, std::memory_order_relaxed); }
  std::uint64_t rate() const noexcept { return rate_.load(std::memory_order_relaxed); }
  // A pass is to begin, or has not come to its end.
  bool under_way() const noexcept { return under_way_.load(std::memory_order_acquire); }

  // Pages, all passes together.
  std::uint64_t moved() const noexcept { return moved_.load(std::memory_order_relaxed); }
  // Of the last pass, up to now.
  Stayed stayed() const noexcept;

  // Moves what the rate permits by now, of one slice. Returns the time until the next call brings something; 0: at
  // once; Nanos::max(): not before begin() or set_rate().
  base::Nanos step(base::Nanos now) noexcept;

 private:
  // What is moved at once, as time; and what may be saved up by a worker that was busy: more would come in a burst.
  static constexpr base::Nanos kBatch = std::chrono::milliseconds(50), kSaved = std::chrono::milliseconds(250);

  PageMigrator migrator_;
  std::atomic<std::uint64_t> rate_{0};
  std::atomic<std::uint64_t> wanted_{0};  // a number of the pass above, the node's below
  std::atomic<bool> under_way_{false};
  std::atomic<std::uint64_t> moved_{0}, pinned_{0}, no_memory_{0}, refused_{0};

  // The worker's.
  std::uint64_t begun_ = 0;  // as wanted_
  double credit_ = 0;        // bytes; negative: a huge page was more than was permitted
  base::Nanos last_{};
};

}  // namespace vmm::migrate
