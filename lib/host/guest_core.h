// GuestCore: one guest as the host knows it: its memory, home node, pins and seats. Guest handles, pins and seats
// refer to it; when the guest or its host ends, the memory goes and the core stays, inert.
// Thread-safety: every public function may be called from any thread; memory() and the rest only inside the gate.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "host/gate.h"
#include "host/guest_balloon.h"
#include "host/home_record.h"
#include "host/node_runtime.h"
#include "migrate/guest_migration.h"
#include "region/pins.h"
#include "vmm/guest.h"
#include "vmm/options.h"

namespace vmm {

class HostCore;

// Adopts what a guest that has become managed holds, also where something between finds no memory.
class AdoptAtEnd {
 public:
  // estimated: as GuestMemory::adopt().
  AdoptAtEnd(region::GuestMemory& memory, bool estimated) noexcept : memory_(memory), estimated_(estimated) {}
  ~AdoptAtEnd() {
    base::MutexLock lock(memory_.control);
    memory_.adopt(estimated_);
  }
  AdoptAtEnd(const AdoptAtEnd&) = delete;
  AdoptAtEnd& operator=(const AdoptAtEnd&) = delete;

 private:
  region::GuestMemory& memory_;
  const bool estimated_;
};

class GuestCore : public std::enable_shared_from_this<GuestCore> {
 public:
  GuestCore(std::shared_ptr<HostCore> host, GuestOptions options, host::NodeRuntime& node,
            std::unique_ptr<region::GuestMemory> memory);
  ~GuestCore();

  // Ends the guest; idempotent, called under the host's control mutex. Blocks for calls and I/O in flight.
  struct Ended {
    std::uint64_t overhead = 0;             // pages that it cost beside those it held
    std::shared_ptr<BalloonDriver> driver;  // to be let go of where no lock is held: it may end guests
  };
  Ended end() noexcept;

  Result<Seat> attach(Attach mode);
  Result<Pin> pin(std::uint64_t offset, std::uint64_t bytes);
  void unpin(std::uint64_t first, std::uint64_t pages) noexcept;
  Result<void> discard(std::uint64_t offset, std::uint64_t bytes);
  Result<std::uint64_t> reclaim(std::uint64_t bytes);
  Result<std::uint64_t> restore();
  Result<void> prefetch(std::uint64_t offset, std::uint64_t bytes);
  Result<void> configure(const GuestChange& change);
  Result<void> set_balloon(std::shared_ptr<BalloonDriver> driver);
  Result<void> rehome(int node);
  Result<GuestStats> stats();
  // Its figures, without system calls: attached_cpu_ns is what look_at_seats() saw last. Locks nothing. The guest does
  // not end meanwhile; one thread at a time.
  void describe(GuestStats& stats) noexcept;
  // The scheduler: what the attached threads have used of the processors.
  void look_at_seats() noexcept;
  std::span<std::byte> span() noexcept;

  // The error of a call that cannot be made now, if it cannot.
  std::optional<Error> refused(const char* verb, const host::GatePass& pass) const;

  // Registers the guest with userfaultfd. Says so by an event with `reason`.
  Result<void> manage(const std::string& reason);
  // Without adopting what is there: an AdoptAtEnd is to follow.
  Result<void> start_managing(const std::string& reason);

  const std::string& name() const noexcept { return options_.name; }
  const GuestOptions& options() const noexcept { return options_; }
  // The home. It changes under the host's control mutex only: see HomeChange.
  host::NodeRuntime& node() noexcept { return *node_.load(std::memory_order_acquire); }
  // Inside the gate only.
  host::Gate& gate() noexcept { return gate_; }
  region::GuestMemory& memory() noexcept { return *memory_; }
  host::GuestBalloon& balloon() noexcept { return *balloon_; }
  migrate::GuestMigration& migration() noexcept { return *migration_; }
  HostCore& host() noexcept { return *host_; }

  std::string manage_error;        // the scheduler's: why the guest could not be managed when last tried
  std::array<std::atomic<std::uint64_t>, 4> reported_out{};  // freed_for at the last report
  std::array<std::atomic<std::uint64_t>, 4> reported_ballooned{};  // the same of ballooned_for

  host::HomeRecord home;

  // While one lives, the home is changing: calls that have asked the former one ask again afterwards.
  class HomeChange {
   public:
    HomeChange(GuestCore& guest, host::NodeRuntime& to) noexcept : guest_(guest) {
      guest_.home_changes_.fetch_add(1);
      guest_.node_.store(&to);
    }
    ~HomeChange() {
      guest_.home_changes_.fetch_add(1);
      guest_.home_changes_.notify_all();
    }
    HomeChange(const HomeChange&) = delete;
    HomeChange& operator=(const HomeChange&) = delete;

   private:
    GuestCore& guest_;
  };

  // While one lives nothing of the guest leaves memory, or is dropped: its worker stands still (Worker::hold()), and
  // pins, discards and balloons wait. Faults are served. Inside the gate only; ended by the thread that made it.
  class Hold {
   public:
    explicit Hold(GuestCore& guest) noexcept
        : worker_(guest.hold_worker()), control_(guest.memory_->control), pins_(guest.pins_->mutex()) {}

   private:
    const host::WorkerHold worker_;
    const base::MutexLock control_, pins_;
  };

  // The nodes that its owner allows as homes; empty: all.
  std::vector<int> affinity();
  void set_affinity(std::vector<int> nodes);
  // Every attached thread that is to run on its home's processors may run on some of that node's; else the error of
  // the first that may not.
  Result<void> seats_fit(const topology::Node& node);
  // Binds the attached threads to the home. Returns how many could not be.
  unsigned bind_seats() noexcept;
  // Of its threads that are bound, what their nice values are above those that they came with. Errors: of the last that
  // could not be weighed, as Seat::Impl::weigh.
  Result<void> weigh_seats(int nice);
  // What the attached threads had of the processors, and wanted, since the last call.
  host::CpuDemand cpu_demand(base::Nanos elapsed);

  // A seat's thread has left, or the seat was dropped.
  void leave(Seat::Impl* seat) noexcept;

 private:
  // Page range of a byte range. Errors: EINVAL naming the argument.
  struct Pages {
    std::uint64_t first, count;
  };
  Result<Pages> pages_of(const char* verb, std::uint64_t offset, std::uint64_t bytes) const;

  // Summaries of the guest's latencies, made anew where something has been recorded since.
  struct Latency {
    LatencySummary all, fill, pop, rescue, swap_in, stop;
  };
  void summarize(const GuestStats& stats, Latency& latency) const noexcept;
  void describe(GuestStats& stats, Latency& latency) const noexcept;

  // True where the home is what it was at `changes`; waits for a change that is under way.
  bool home_stayed(std::uint32_t changes) const noexcept;
  // The worker of its home, which stays that meanwhile.
  host::WorkerHold hold_worker() noexcept;

  const std::shared_ptr<HostCore> host_;
  const GuestOptions options_;
  std::atomic<host::NodeRuntime*> node_;
  std::atomic<std::uint32_t> home_changes_{0};  // odd while it changes
  host::Gate gate_;
  bool ended_ = false;  // protected by the host's control mutex
  std::unique_ptr<region::GuestMemory> memory_;
  std::optional<region::Pins> pins_;
  std::optional<host::GuestBalloon> balloon_;
  std::optional<migrate::GuestMigration> migration_;
  base::Mutex seats_mutex_{base::LockRank::seats};
  std::vector<std::weak_ptr<Seat::Impl>> seats_ VMM_GUARDED_BY(seats_mutex_);  // each costs a page of overhead
  std::vector<int> affinity_ VMM_GUARDED_BY(seats_mutex_);
  // Changed under seats_mutex_.
  std::atomic<unsigned> attached_{0};
  std::atomic<std::uint64_t> attached_cpu_{0};  // ns, as last looked
  Latency latency_;  // describe()'s own
};

}  // namespace vmm
