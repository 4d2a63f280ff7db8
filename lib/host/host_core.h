// HostCore: the budget, the nodes' threads, the guests, and the scheduler that looks after them.
// Thread-safety: every public function may be called from any thread unless it says otherwise.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "host/arbiter.h"
#include "host/budget_watch.h"
#include "host/event_queue.h"
#include "host/event_ring.h"
#include "host/fork_guard.h"
#include "host/guest_core.h"
#include "host/group_watch.h"
#include "host/move_queue.h"
#include "host/node_runtime.h"
#include "host/options_check.h"
#include "host/stats_handler.h"
#include "os/pagemap.h"
#include "os/poller.h"
#include "os/thread.h"
#include "policy/placement.h"
#include "policy/rebalance.h"
#include "topology/topology.h"
#include "vmm/host.h"

namespace vmm {

class HostCore final : public std::enable_shared_from_this<HostCore>,
                       public region::CreditWaiter,
                       public region::MemoryDemand,
                       public host::ArbiterListener {
 public:
  // `topology` lets tests describe a machine. Errors: those of Host::create.
  static Result<std::shared_ptr<HostCore>> create(const HostOptions& options, const topology::Topology& topology);
  ~HostCore() override;

  // Ends guests and threads. Idempotent. Not from inside the event callback.
  void shut_down();

  Result<std::shared_ptr<GuestCore>> create_guest(const GuestOptions& options);
  void end_guest(GuestCore& guest) noexcept;
  Result<void> set_callback(std::function<void(const Event&)> callback);
  Result<void> tick(base::Nanos now);
  Result<ShareReport> share_now();
  Result<ShareEstimate> estimate_sharing();
  Result<HostStats> stats();
  Result<EventLedger> events(std::uint64_t since);
  // By its name, or as statistics write it (host/text_out.h). Null: there is none.
  std::shared_ptr<GuestCore> find_guest(const std::string& name) VMM_EXCLUDES(list_mutex_);
  Result<void> create_pool(const std::string& path, const PoolOptions& options);
  Result<void> configure_pool(const std::string& path, const PoolChange& change);
  Result<void> remove_pool(const std::string& path);
  Result<void> configure(const HostChange& change);
  Result<void> configure_guest(GuestCore& guest, const GuestChange& change);
  Result<void> rehome_guest(GuestCore& guest, int node);
  // What was decided on, if it is still right. The two of an exchange both, or neither.
  void make_moves(const host::MoveQueue::Moves& moves) VMM_EXCLUDES(control_);
  host::Arbiter& arbiter() noexcept { return arbiter_; }
  // A thread has taken a seat in the guest, or left it. Inside its gate.
  void count_seat(GuestCore& guest, bool taken) noexcept;

  void credit_returned() noexcept override;
  void memory_wanted() noexcept override;
  void memory_awaited() noexcept override;
  void zeros_wanted() noexcept override;
  void targets_wanted() noexcept override;
  void stops_ended() noexcept override;
  void stops_began() noexcept override;
  void memory_short() noexcept override;

  void emit(EventKind kind, const std::string& guest, std::uint64_t bytes, std::string mechanism,
            std::string reason) override;
  bool in_child() const noexcept { return fork_guard_.in_child(); }
  // The error of `verb` in a fork's child.
  static tl::unexpected<Error> forked(const char* verb);
  // Bytes: what HostOptions::memory = 0 stands for.
  // `held`: bytes that this host has itself.
  static std::uint64_t default_budget(std::uint64_t held = 0);
  const Capabilities& capabilities() const noexcept { return capabilities_; }
  const HostOptions& options() const noexcept { return options_; }
  region::Credit& credit() noexcept { return credit_; }
  // Most pages a guest may have pinned, given what others have.
  std::uint64_t pinnable(GuestCore& guest);
  bool managing_possible() const noexcept { return capabilities_.level != CapabilityLevel::none; }
  // The same for `what` needs it. Errors: Errc::not_supported, saying what is missing.
  Result<void> manageable(const std::string& what) const { return host::check_manageable(what, capabilities_); }
  // Free memory, in bytes, below which native guests are managed.
  std::uint64_t manage_below() const noexcept;
  // The guests could outgrow the budget, and faster than the watch could see it.
  bool cannot_watch() const noexcept;
  // The set of native guests changed.
  void watch_again() noexcept;

 private:
  struct NodeUse {
    std::uint64_t promised = 0, reserved = 0;
  };
  // Bytes.
  struct Promise {
    std::uint64_t most = 0, reserved = 0;
  };
  // Pages that a guest costs beside those it holds, seats apart.
  static std::uint64_t overhead_of(const region::GuestMemory& memory);
  static Promise promise_of(const region::GuestMemory& memory);
  void count_promise(const host::NodeRuntime& node, const Promise& promise, bool made) VMM_REQUIRES(control_);

  // Pages.
  struct Pinned {
    std::uint64_t pages = 0, beyond_reservation = 0;
  };
  Pinned pinned(const GuestCore* except);

  HostCore(const HostOptions& options, Capabilities capabilities, const topology::Topology& topology,
           std::uint64_t budget, host::ForkGuard guard, os::ProcessMemory memory, os::Pagemap pagemap);
  Result<void> start();
  Result<void> make_sharing();
  Result<void> start_server();
  static std::string salt_of(GuestCore& guest);
  Result<void> manage_sharers(const std::vector<std::shared_ptr<GuestCore>>& all, const char* call);
  Result<void> check(const GuestOptions& options) VMM_REQUIRES(control_);
  Result<host::NodeRuntime*> place(const GuestOptions& options, std::string& reason) VMM_REQUIRES(control_);
  Result<std::unique_ptr<region::GuestMemory>> make_memory(const GuestOptions& options, int node)
      VMM_REQUIRES(control_);
  reclaim::SwapFileOptions swap_file_of(const GuestOptions& options) const;
  // Of the nodes' buffers, and of their tables of keys.
  std::uint64_t host_overhead_pages() const noexcept {
    std::uint64_t pages = 0;
    for (const auto& node : nodes_) pages += host::NodeRuntime::overhead_pages() + node->table_pages();
    return pages;
  }
  // Says so, where guests are more than the documents advise. `guest`: which one made it so; empty: a lower budget.
  void advise_on_overcommitment(const std::string& guest);
  void set_pinned_beyond();
  void report_reclaim(GuestCore& guest);
  void describe_guests(std::vector<GuestStats>& all) VMM_EXCLUDES(list_mutex_);
  void describe_nodes(HostStats& stats);
  void describe_latency(HostStats& stats) const;
  std::vector<std::shared_ptr<GuestCore>> guests() VMM_EXCLUDES(list_mutex_);

  host::NodeRuntime* runtime_of(int node) noexcept;
  policy::PlacementSnapshot placement_snapshot(const GuestOptions& options) VMM_REQUIRES(control_);
  // The guest's home becomes `node`. Errors: as Guest::rehome(); on error nothing has changed.
  Result<void> change_home(GuestCore& guest, int node, const char* why, const std::string& reason)
      VMM_REQUIRES(control_);
  // A home among those that the guest is confined to, if the one it has is none. Errors: as change_home().
  Result<void> confine(GuestCore& guest, const GuestOptions& options) VMM_REQUIRES(control_);
  // False: it could not be made, or is out of date.
  bool make_move(const host::Move& move) VMM_EXCLUDES(control_);
  void take_back(const host::Move& move) VMM_EXCLUDES(control_);
  bool still_right(GuestCore& guest, const host::Move& move) VMM_REQUIRES(control_);
  void run_moves() noexcept;

  static const char* const kOutgrows;  // why cannot_watch() makes guests managed
  struct EnteredGuests {
    std::vector<std::shared_ptr<GuestCore>> guests;
    std::vector<region::GuestMemory*> memories;  // as guests
    std::vector<std::unique_ptr<host::GatePass>> passes;
  };
  // Those that are managed and adopted, or the others.
  EnteredGuests enter_guests(bool adopted);

  // The scheduler's thread, or who ticks.
  void run();
  base::Nanos look();
  base::Nanos watch(base::Nanos now);
  void round(base::Nanos now);
  void look_at_nodes();
  base::Nanos sampling_interval();
  void watch_group(base::Nanos now);
  void drain_notices();
  // What the watchdog saw last of a thread.
  struct Stall {
    std::uint64_t answered = 0, address = 0;
    base::Nanos since{};
    bool reported = false;
  };
  void check_fault_threads(base::Nanos now);
  void check_stall(Stall& stall, const region::FaultProgress& p, const std::string& thread, base::Nanos now);
  void return_to_native(base::Nanos now);
  void look_at_homes(base::Nanos now);
  void weigh(const std::vector<GuestCore*>& guests, const policy::RebalanceSnapshot& snapshot,
             const policy::RebalancePlan& plan);
  void count_nodes(GuestCore& guest, const std::vector<int>& ids, std::uint32_t sample) VMM_EXCLUDES(rates_mutex_);
  policy::RebalanceGuest claim_of(GuestCore& guest, const std::vector<int>& ids, base::Nanos elapsed,
                                  base::Nanos now);
  void follow(const std::vector<GuestCore*>& guests, base::Nanos now) VMM_EXCLUDES(rates_mutex_);
  void tell_pass(GuestCore& guest, base::Nanos now);
  std::uint64_t kept_free(const host::NodeRuntime& node) const;
  static double migration_maximum(const HostOptions& options) noexcept;
  void begin_migration_rate(GuestCore& guest) VMM_REQUIRES(rates_mutex_);
  void lower_migration_rates() VMM_EXCLUDES(rates_mutex_);
  // maximum: bytes a second.
  void set_migration_rate(GuestCore& guest, double maximum, unsigned arriving, base::Nanos now)
      VMM_REQUIRES(rates_mutex_);

  const HostOptions options_;
  const Capabilities capabilities_;
  const topology::Topology topology_;
  const host::ForkGuard fork_guard_;
  const os::Pagemap pagemap_;
  const bool move_;
  const std::uint64_t growth_;  // bytes a second that native guests may take
  const std::uint64_t secret_;
  base::ForwardClock clock_;
  region::Credit credit_;
  host::Arbiter arbiter_;
  std::atomic<bool> targets_wanted_{false};
  region::Notices notices_;
  os::Doorbell bell_;  // wakes the scheduler
  os::Poller poller_;
  host::EventQueue events_;
  host::EventRing ledger_;
  std::unique_ptr<host::SharingParts> sharing_;  // null: pages are not shared
  std::vector<std::unique_ptr<host::NodeRuntime>> nodes_;

  base::Mutex estimate_mutex_{base::LockRank::estimate};
  base::Mutex control_{base::LockRank::host_control};
  std::vector<NodeUse> uses_ VMM_GUARDED_BY(control_);  // as nodes_
  int last_node_ VMM_GUARDED_BY(control_) = -1;
  std::uint64_t next_id_ VMM_GUARDED_BY(control_) = 1;
  bool down_ VMM_GUARDED_BY(control_) = false;

  base::Mutex rates_mutex_{base::LockRank::rates};

  base::Mutex list_mutex_{base::LockRank::guest_list};
  std::vector<GuestCore*> list_ VMM_GUARDED_BY(list_mutex_);
  std::atomic<std::uint64_t> overhead_pages_{0};
  std::atomic<std::uint64_t> reserved_{0};     // bytes
  std::atomic<std::uint64_t> guest_memory_{0}; // bytes

  // The scheduler's own.
  host::BudgetWatch watch_;
  std::atomic<bool> watch_again_{true};
  base::Nanos next_round_{}, next_sampling_{};
  base::Nanos next_group_look_{};
  host::GroupWatch group_watch_;
  std::optional<base::Nanos> plentiful_since_;
  policy::RebalanceHistory rebalance_history_;
  base::Nanos last_homes_look_{};
  base::Random homes_random_;
  std::uint64_t census_turn_ = 0;  // of the guests, in their order
  struct NodeStalls {
    Stall fault, helper;
  };
  std::vector<NodeStalls> stalls_;  // by node

  std::atomic<bool> stop_{false};
  os::Thread thread_;
  os::Thread event_thread_;
  host::MoveQueue moves_;
  os::Thread home_thread_;  // changes homes: the scheduler must not wait for reads and writes in flight
  std::unique_ptr<host::StatsHandler> handler_;
  std::unique_ptr<host::StatsServer> server_;  // null: HostOptions::stats_socket is empty
};

}  // namespace vmm
