// Arbiter: who gets how much memory. Keeps what guests and pools are entitled to, the host's memory state, and the
// guests' targets; says how much to take of whom (policy/reclaim_plan.h), and stops guests in state low.
//
// Everything it says is told by pure functions of what it has seen; workers and the scheduler act on it.
// Thread-safety: every function from any thread but fault threads. Holds its mutex for as long as a plan takes: about
// 0.2 us a guest.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "policy/admission.h"
#include "policy/demand.h"
#include "policy/reclaim_plan.h"
#include "region/credit.h"
#include "region/guest_memory.h"
#include "vmm/event.h"
#include "vmm/options.h"
#include "vmm/pool.h"
#include "vmm/stats.h"

namespace vmm::host {

struct GuestBalloon;

// Told what the arbiter does. Called with its mutex held.
class ArbiterListener {
 public:
  virtual ~ArbiterListener() = default;
  virtual void emit(EventKind kind, const std::string& guest, std::uint64_t bytes, std::string mechanism,
                    std::string reason) = 0;
  // Guests that were stopped may go on: fault threads are to look at what they have kept.
  virtual void stops_ended() noexcept = 0;
  // Somebody was stopped: observe() is to be called before the stop has lasted too long.
  virtual void stops_began() noexcept = 0;
  // The state is no longer high: workers are to look.
  virtual void memory_short() noexcept = 0;
};

// What a guest is entitled to; as in GuestOptions.
struct Entitlement {
  Shares shares = Shares::normal();
  std::uint64_t reservation = 0, limit = 0;
  std::string pool = "/";
  std::optional<double> idle_tax;
  std::optional<std::uint64_t> balloon_max;
};
Entitlement entitlement_of(const GuestOptions& options);

class Arbiter {
 public:
  // `options` are checked. What it uses outlives it.
  Arbiter(const HostOptions& options, region::Credit& credit, ArbiterListener& listener);

  // Pools. Errors: those of Host::create_pool.
  Result<void> create_pool(const std::string& path, const PoolOptions& options) VMM_EXCLUDES(mutex_);
  Result<void> configure_pool(const std::string& path, const PoolChange& change) VMM_EXCLUDES(mutex_);
  // Whether configure_pool() would be refused now.
  Result<void> check_pool_change(const std::string& path, const PoolChange& change) VMM_EXCLUDES(mutex_);
  Result<void> remove_pool(const std::string& path) VMM_EXCLUDES(mutex_);
  // The pool, or one above it, has a limit. False if there is no such pool.
  bool pool_limited(const std::string& path) VMM_EXCLUDES(mutex_);

  // Whether the guest, which costs `overhead` bytes, may be made. Errors: EINVAL (no such pool), admission_refused.
  Result<void> admit(const std::string& name, const Entitlement& e, std::uint64_t overhead) VMM_EXCLUDES(mutex_);
  // From now on the guest is planned for, until it is removed. `balloon` lives as long.
  void add(region::GuestMemory& guest, GuestBalloon& balloon, const Entitlement& e) VMM_EXCLUDES(mutex_);
  void remove(const region::GuestMemory& guest) noexcept VMM_EXCLUDES(mutex_);
  // Errors: as admit(). On error nothing has changed.
  Result<void> change(const region::GuestMemory& guest, const Entitlement& e) VMM_EXCLUDES(mutex_);
  // Whether change() would be refused now.
  Result<void> check_change(const region::GuestMemory& guest, const Entitlement& e) VMM_EXCLUDES(mutex_);
  Entitlement entitlement(const region::GuestMemory& guest) VMM_EXCLUDES(mutex_);

  // Errors: admission_refused: `budget` (pages) or min_free leave less than is reserved. Checked options.
  Result<void> configure(const HostOptions& options, std::uint64_t budget) VMM_EXCLUDES(mutex_);
  HostOptions options() VMM_EXCLUDES(mutex_);
  // Share of the budget below which the state is not high: min_free, or what the sliding ladder makes of it.
  double min_free() const noexcept { return min_free_.load(std::memory_order_relaxed); }

  // What the host consumes beside its guests, and what is pinned beyond reservations, in pages.
  void set_overhead(std::uint64_t pages) noexcept { overhead_.store(pages, std::memory_order_relaxed); }
  void set_pinned_beyond(std::uint64_t pages) noexcept { pinned_beyond_.store(pages, std::memory_order_relaxed); }
  // Pages that may be pinned beyond reservations, when other guests have pinned `others` so: what is left of what could
  // be reserved.
  std::uint64_t pinnable_beyond(std::uint64_t others) VMM_EXCLUDES(mutex_);
  // Most pages that the guest may have pinned without its pools' limits keeping it waiting for ever.
  std::uint64_t pinnable_in_pools(const region::GuestMemory& guest) VMM_EXCLUDES(mutex_);

  // A look at free memory: the state moves, guests are stopped and go on, targets are computed when it is time,
  // balloons are asked. What is to be parked and written, of which guests, in the same order.
  struct Plan {
    policy::ReclaimPlan reclaim;
    std::vector<region::GuestMemory*> guests;
    std::uint64_t asked = 0;  // pages, of balloons
    bool awaited = false;     // a driver's answer is: there may be more to ask for
  };
  Plan plan(base::Nanos now) VMM_EXCLUDES(mutex_);
  // The same without a plan; returns when it should be called again at the latest: for the next targets, or the end of
  // a stop.
  base::Nanos observe(base::Nanos now) VMM_EXCLUDES(mutex_);
  // Targets are computed at the next look, whatever the time is.
  void want_targets() noexcept { targets_wanted_.store(true, std::memory_order_release); }

  MemoryState state() const noexcept { return state_.load(std::memory_order_relaxed); }
  std::uint64_t min_free_pages() const noexcept { return min_free_pages_.load(std::memory_order_relaxed); }
  std::vector<PoolStats> pool_stats() VMM_EXCLUDES(mutex_);

 private:
  struct Pool {
    Pool(std::string p, Pool* above, const PoolOptions& o)
        : path(std::move(p)), parent(above), options(o), charge(above != nullptr ? &above->charge : nullptr) {}
    const std::string path;
    Pool* const parent;  // null: the root
    PoolOptions options;
    region::PoolCharge charge;
    std::size_t index = 0;       // in pools_
    std::int64_t last_drift = 0;  // of its charge, at the last balance
  };
  struct Member {
    region::GuestMemory* memory;
    GuestBalloon* balloon;
    Entitlement entitlement;
    Pool* pool;
    std::uint64_t asked = 0;  // pages, of the balloon
    policy::Demand demand{};
    base::Nanos stopped_since{}, stop_counted{};
    bool stopped = false, stop_spent = false;
    bool advised_reservation = false, advised_limit = false;
  };

  Pool* find_pool(const std::string& path) VMM_REQUIRES(mutex_);
  Member* find(const region::GuestMemory& guest) VMM_REQUIRES(mutex_);
  Result<void> check_change_locked(const region::GuestMemory& guest, const Entitlement& e) VMM_REQUIRES(mutex_);
  void apply(Member& member, Pool& pool, const Entitlement& e) VMM_REQUIRES(mutex_);
  std::uint64_t capacity(std::uint64_t budget, double min_free) const noexcept VMM_REQUIRES(mutex_);
  std::vector<policy::AdmissionPool> admission_pools() VMM_REQUIRES(mutex_);
  Result<void> refuse_shortage(const std::string& what, const std::vector<policy::AdmissionPool>& after)
      VMM_REQUIRES(mutex_);
  std::uint64_t kept_in(const Pool& pool, const Member* except) VMM_REQUIRES(mutex_);
  void correct_charges() VMM_REQUIRES(mutex_);
  Result<PoolOptions> changed_options(const std::string& path, const PoolChange& change) VMM_REQUIRES(mutex_);
  void reindex() VMM_REQUIRES(mutex_);
  void take_settings() VMM_REQUIRES(mutex_);

  std::vector<policy::TargetPool> target_pools() VMM_REQUIRES(mutex_);
  std::uint64_t balloon_max(const Member& m) const VMM_REQUIRES(mutex_);
  policy::ReclaimGuest claim_of(const Member& m, base::Nanos now) VMM_REQUIRES(mutex_);
  policy::ReclaimSnapshot snapshot(base::Nanos now) VMM_REQUIRES(mutex_);
  policy::ReclaimSnapshot look(base::Nanos now) VMM_REQUIRES(mutex_);
  void step_state(policy::ReclaimSnapshot& s) VMM_REQUIRES(mutex_);
  bool balance_due(std::uint64_t free, base::Nanos now) const VMM_REQUIRES(mutex_);
  void balance(const policy::ReclaimSnapshot& s, base::Nanos now) VMM_REQUIRES(mutex_);
  void advise(Member& m) VMM_REQUIRES(mutex_);
  void look_at_balloon(Member& m, base::Nanos now) VMM_REQUIRES(mutex_);
  void stop_and_go(const policy::ReclaimSnapshot& s, base::Nanos now) VMM_REQUIRES(mutex_);

  region::Credit& credit_;
  ArbiterListener& listener_;
  std::atomic<MemoryState> state_{MemoryState::high};  // changed under mutex_
  std::atomic<double> min_free_{0};
  std::atomic<std::uint64_t> min_free_pages_{0};
  std::atomic<std::uint64_t> overhead_{0}, pinned_beyond_{0};
  std::atomic<bool> targets_wanted_{true};

  base::Mutex mutex_{base::LockRank::arbiter};
  HostOptions options_ VMM_GUARDED_BY(mutex_);
  policy::StateMarks marks_ VMM_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Pool>> pools_ VMM_GUARDED_BY(mutex_);  // parents first; the root is the first
  // Kept: a fault thread may just be charging one that its guest has left.
  std::vector<std::unique_ptr<Pool>> removed_ VMM_GUARDED_BY(mutex_);
  std::vector<Member> members_ VMM_GUARDED_BY(mutex_);
  base::Nanos last_balance_ VMM_GUARDED_BY(mutex_){};
};

}  // namespace vmm::host
