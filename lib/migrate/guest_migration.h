// GuestMigration: a guest's memory follows it to a new home, at the rate that it is told, in passes over the guest. What
// stays in a pass - pinned pages, a full node - another pass may try again; who asks for passes says how often.
// Thread-safety: step() is the worker's of the guest's home node alone; the rest may be called from any thread, begin()
// by one at a time.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "migrate/page_migrator.h"
#include "region/guest_memory.h"

namespace vmm::migrate {

// What a pass has done so far. Pages; those that stayed, by why.
struct MigrationPass {
  std::uint64_t moved = 0, pinned = 0, no_memory = 0, refused = 0;
  std::uint64_t stayed() const noexcept { return pinned + no_memory + refused; }
};

class GuestMigration {
 public:
  explicit GuestMigration(region::GuestMemory& guest) noexcept : migrator_(guest) {}

  // A pass to `node` begins with the next step; one that is under way is over.
  void begin(int node) noexcept;
  // Bytes a second; 0: nothing moves.
  void set_rate(std::uint64_t rate) noexcept { rate_.store(rate, std::memory_order_relaxed); }
  std::uint64_t rate() const noexcept { return rate_.load(std::memory_order_relaxed); }
  // The node has no memory to give: what is left of the pass is counted only.
  void set_full() noexcept { told_full_.store(true, std::memory_order_release); }
  // A pass is to begin, or has not come to its end.
  bool under_way() const noexcept {
    return ended_.load(std::memory_order_acquire) != wanted_.load(std::memory_order_acquire);
  }

  // Pages, all passes together.
  std::uint64_t moved() const noexcept { return moved_.load(std::memory_order_relaxed); }
  // The last pass that has begun.
  MigrationPass pass() const noexcept;

  // Moves what the rate permits by now, of one slice. Returns the time until the next call brings something; 0: at once;
  // Nanos::max(): not before begin() or set_rate().
  base::Nanos step(base::Nanos now) noexcept;

 private:
  // What is moved at once, as time; and what may be saved up by a worker that was busy: more would come in a burst.
  static constexpr base::Nanos kBatch = std::chrono::milliseconds(50), kSaved = std::chrono::milliseconds(250);

  PageMigrator migrator_;
  std::atomic<std::uint64_t> rate_{0};
  std::atomic<std::uint64_t> wanted_{0}, ended_{0};  // a number of the pass above, the node's below
  std::atomic<bool> told_full_{false};
  std::atomic<std::uint64_t> moved_{0}, pass_moved_{0}, pinned_{0}, no_memory_{0}, refused_{0};

  // The worker's.
  std::uint64_t begun_ = 0;  // as wanted_
  bool full_ = false;
  double credit_ = 0;  // bytes
  double needed_ = 0;  // of them, before anything can be moved: the next page is huge
  base::Nanos last_{};
};

}  // namespace vmm::migrate
