// Homes of guests: the home-node scheduler's look, a guest's change of its home, and the rate at which memory follows.
#include <algorithm>
#include <limits>
#include <new>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "host/host_core.h"
#include "host/options_check.h"
#include "migrate/node_census.h"
#include "os/node_info.h"
#include "policy/migration_rate.h"

namespace vmm {
namespace {

using host::HomeRecord;

// Pages looked at by one census, and by those of one round together: about 0.4 us each.
constexpr std::uint64_t kMostCounted = 512, kLeastCounted = 64, kMostCountedTogether = 1 << 16;
// Less remote memory than this is not worth a pass over the guest.
constexpr double kNegligible = 0.01;
// Passes that moved next to nothing are followed by another after 2, 4, ... 64 periods.
constexpr unsigned kMostPatience = 6;

const char* to_string(policy::RebalanceWhy why) noexcept {
  switch (why) {
    case policy::RebalanceWhy::balance: return "balance";
    case policy::RebalanceWhy::swap: return "swap";
    case policy::RebalanceWhy::fairness: return "fairness";
  }
  return "unknown";
}

policy::RebalanceOptions rebalance_options(const HostOptions& o, double min_free) {
  policy::RebalanceOptions r;
  r.imbalance = o.rebalance_imbalance;
  r.improvement = o.rebalance_improvement;
  r.swap = o.rebalance_swap;
  r.swap_interval = o.rebalance_swap_interval;
  r.fairness_interval = o.rebalance_fairness_interval;
  r.locality_weight = o.rebalance_locality_weight;
  r.cool_down = o.rebalance_cool_down;
  r.return_guard = 2 * r.cool_down;
  r.max_moves = o.rebalance_max_moves;
  r.min_free = min_free;
  return r;
}

std::uint64_t held_by(const region::GuestMemory& m) noexcept {
  const auto& pages = m.adopted() ? m.counters.resident : m.native_pages;
  return pages.load(std::memory_order_relaxed) * kPageSize;
}

}  // namespace

host::NodeRuntime* HostCore::runtime_of(int node) noexcept {
  for (const auto& n : nodes_)
    if (n->node.id == node) return n.get();
  return nullptr;
}

// The scheduler's look at nodes and guests: counts, decides, and says how fast memory follows.
void HostCore::look_at_homes(base::Nanos now) {
  if (nodes_.size() < 2) return;
  const auto options = arbiter_.options();
  policy::RebalanceSnapshot s;
  s.now = now;
  s.elapsed = last_homes_look_ == base::Nanos{} ? base::Nanos(options.rebalance_period) : now - last_homes_look_;
  s.history = rebalance_history_;
  std::vector<int> ids;
  for (const auto& n : nodes_) {
    n->free.store(os::node_free_bytes(n->node.id).value_or(n->node.memory), std::memory_order_relaxed);
    ids.push_back(n->node.id);
    s.nodes.push_back({n->node.id, static_cast<unsigned>(n->node.cpus.size()), n->node.memory, n->free, false});
  }
  const auto all = guests();
  std::vector<std::unique_ptr<host::GatePass>> passes;
  std::vector<GuestCore*> there;
  const auto sample = static_cast<std::uint32_t>(
      std::clamp(kMostCountedTogether / std::max<std::uint64_t>(all.size(), 1), kLeastCounted, kMostCounted));
  for (const auto& guest : all) {
    auto pass = std::make_unique<host::GatePass>(guest->gate());
    if (!*pass) continue;
    count_nodes(*guest, ids, sample);
    s.guests.push_back(claim_of(*guest, ids, s.elapsed, now));
    passes.push_back(std::move(pass));
    there.push_back(guest.get());
  }
  const auto plan = policy::plan_rebalance(s, rebalance_options(options, arbiter_.min_free()));
  rebalance_history_ = plan.history;
  last_homes_look_ = now;
  for (std::size_t i = 0; i < nodes_.size(); ++i) nodes_[i]->load.store(plan.loads[i], std::memory_order_relaxed);
  for (std::size_t i = 0; i < there.size(); ++i) there[i]->home.owed = plan.owed[i];
  follow(there, options, now);
  passes.clear();
  if (!options.rebalance) return;
  for (const auto& move : plan.moves) {
    host::Move m{there[move.guest]->weak_from_this(), move.to, to_string(move.why), move.reason};
    if (options_.scheduler == Scheduler::manual) make_move(m);
    else moves_.push(std::move(m));
  }
}

void HostCore::count_nodes(GuestCore& guest, const std::vector<int>& ids, std::uint32_t sample) {
  const auto census = migrate::take_census(guest.memory(), ids, sample, homes_random_);
  const auto held = static_cast<double>(held_by(guest.memory()));
  auto& home = guest.home;
  home.by_node.clear();
  if (census.known == 0) return;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    home.by_node.push_back(static_cast<std::uint64_t>(held * census.part(i)));
    if (ids[i] == guest.node().node.id) home.local.store(census.part(i), std::memory_order_relaxed);
  }
}

policy::RebalanceGuest HostCore::claim_of(GuestCore& guest, const std::vector<int>& ids, base::Nanos elapsed,
                                          base::Nanos now) {
  auto& m = guest.memory();
  const auto& home = guest.home;
  policy::RebalanceGuest g;
  g.id = m.id();
  g.name = guest.name();
  g.home = guest.node().node.id;
  g.shares = arbiter_.entitlement(m).shares.of(guest.options().memory);
  const auto demand = guest.cpu_demand(elapsed);
  g.used = demand.used;
  g.wanted = demand.wanted;
  g.threads = demand.threads;
  g.resident = held_by(m);
  g.by_node = home.by_node;
  g.reservation = m.arbitration.reserved.load(std::memory_order_relaxed) * kPageSize;
  // Where its owner lets it be, and its threads may run.
  const auto allowed = guest.affinity();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const bool named = allowed.empty() || std::find(allowed.begin(), allowed.end(), ids[i]) != allowed.end();
    if (named && guest.seats_fit(nodes_[i]->node)) g.affinity.push_back(ids[i]);
  }
  g.movable = home.movable && !guest.options().bind_memory && !g.affinity.empty() && now.count() >= home.not_before;
  if (const auto last = home.last_move.load(); last != HomeRecord::kNever) g.last_move = base::Nanos(last);
  g.came_from = home.came_from;
  g.owed = home.owed;
  return g;
}

// Bytes a second that all guests together may be moved at.
double HostCore::migration_maximum(const HostOptions& options) noexcept {
  return options.migration_rate_max > 0 ? options.migration_rate_max * 1e6 : std::numeric_limits<double>::infinity();
}

// What others leave of it until the scheduler divides it anew.
double HostCore::unused_migration_rate(const GuestCore& but) {
  auto rate = migration_maximum(arbiter_.options());
  for (const auto& guest : guests()) {
    host::GatePass pass(guest->gate());
    if (pass && guest.get() != &but && guest->migration().under_way())
      rate -= static_cast<double>(guest->migration().rate());
  }
  return std::max(rate, 0.0);
}

// Says for each guest how fast what is elsewhere moves to its home, and begins passes.
void HostCore::follow(const std::vector<GuestCore*>& guests, const HostOptions& options, base::Nanos now) {
  std::vector<GuestCore*> moving;
  for (auto* guest : guests) {
    auto& home = guest->home;
    auto& migration = guest->migration();
    if (migration.under_way()) {
      home.pass_seen = true;
      moving.push_back(guest);
      continue;
    }
    // One that began and ended between two looks shows by what it has moved.
    if (std::exchange(home.pass_seen, false) || migration.moved() != home.moved_before) end_pass(*guest, now);
    if (1 - home.local <= kNegligible || now < home.next_pass || guest->memory().is_shut()) continue;
    home.moved_before = migration.moved();
    home.pass_seen = true;
    migration.begin(guest->node().node.id);
    moving.push_back(guest);
  }
  for (auto* guest : moving)
    set_migration_rate(*guest, migration_maximum(options) / static_cast<double>(moving.size()), now);
}

// A pass is over: says what it brought, and when the next may begin.
void HostCore::end_pass(GuestCore& guest, base::Nanos now) {
  auto& home = guest.home;
  auto& migration = guest.migration();
  const auto moved = (migration.moved() - home.moved_before) * kPageSize;
  home.moved_before = migration.moved();
  const auto stayed = migration.stayed();
  const auto left = (stayed.pinned + stayed.no_memory + stayed.refused) * kPageSize;
  // What was moved is worth another look soon; what stays is asked for less and less often.
  home.fruitless_passes = moved > left ? 0 : std::min(home.fruitless_passes + 1, kMostPatience);
  home.next_pass = now + options_.rebalance_period * (std::int64_t{1} << home.fruitless_passes);
  if (moved + left == 0) return;
  emit(EventKind::guest_migrated, guest.name(), moved, "migration",
       base::bytes_text(moved) + " moved to node " + std::to_string(guest.node().node.id) + "; stayed: " +
           base::bytes_text(stayed.pinned * kPageSize) + " pinned or in use by a device, " +
           base::bytes_text(stayed.no_memory * kPageSize) + " for lack of memory there, " +
           base::bytes_text(stayed.refused * kPageSize) + " refused by the kernel");
}

void HostCore::set_migration_rate(GuestCore& guest, double maximum, base::Nanos now) {
  const auto& home = guest.home;
  const auto& node = guest.node();
  policy::MigrationSnapshot s;
  s.now = now;
  if (const auto last = home.last_move.load(); last != HomeRecord::kNever) s.rehomed = base::Nanos(last);
  s.homed_back = home.homed_back;
  s.period = options_.rebalance_period;
  s.resident = held_by(guest.memory());
  // While a pass is under way there may be some that the census did not meet.
  const auto remote = static_cast<std::uint64_t>((1 - home.local) * static_cast<double>(s.resident));
  s.remote = std::max(remote, std::min(s.resident, policy::kRemainder));
  s.destination_free = node.free;
  s.destination_memory = node.node.memory;
  s.min_free = arbiter_.min_free();
  const auto planned = policy::plan_migration_rate(s).bytes_per_second;
  const auto rate = static_cast<double>(planned) < maximum ? planned : static_cast<std::uint64_t>(maximum);
  if (rate == guest.migration().rate()) return;
  guest.migration().set_rate(rate);
  node.worker->wake();
}

void HostCore::make_move(const host::Move& move) {
  const auto guest = move.guest.lock();
  if (guest == nullptr) return;
  Result<void> r;
  {
    base::MutexLock lock(control_);
    host::GatePass pass(guest->gate());
    if (!pass || down_) return;
    r = change_home(*guest, move.to, move.why, move.reason);
  }
  if (r) return;
  guest->home.not_before = (clock_.now() + base::Nanos(options_.rebalance_cool_down)).count();
  emit(EventKind::rehoming_failed, guest->name(), 0, move.why, move.reason + ": " + r.error().message());
}

void HostCore::run_moves() noexcept {
  while (const auto move = moves_.pop()) {
    try {
      make_move(*move);
    } catch (const std::bad_alloc&) {
      // No memory to decide with: the scheduler will want it again.
    }
  }
}

Result<void> HostCore::rehome_guest(GuestCore& guest, int node) {
  base::MutexLock lock(control_);
  host::GatePass pass(guest.gate());
  if (auto error = guest.refused("rehome", pass)) return tl::unexpected(*error);
  const auto who = "rehome of guest \"" + guest.name() + "\": node";
  if (auto r = host::check_home_node(who, node, topology_); !r) return r;
  const auto allowed = guest.affinity();
  if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), node) == allowed.end())
    return base::invalid(who + " = " + std::to_string(node) + " is outside its node_affinity " +
                             base::list_text(allowed),
                         "choose one of these, or configure node_affinity first");
  return change_home(guest, node, "asked", "rehome(" + std::to_string(node) + ") was called");
}

// All that can fail comes before what cannot be undone.
Result<void> HostCore::change_home(GuestCore& guest, int node, const char* why, const std::string& reason) {
  auto& m = guest.memory();
  auto& from = guest.node();
  auto* const to = runtime_of(node);
  if (to == nullptr)
    return base::fail_errno(ENODEV, "rehoming guest \"" + guest.name() + "\" to node " + std::to_string(node),
                            "choose a node with processors");
  if (to == &from) return {};
  if (auto r = guest.seats_fit(to->node); !r) return r;
  const auto held = held_by(m);
  if (guest.options().bind_memory) {
    const auto free = os::node_free_bytes(node).value_or(to->node.memory);
    const auto kept = static_cast<std::uint64_t>(arbiter_.min_free() * static_cast<double>(to->node.memory));
    if (free < held + kept)
      return base::fail(Errc::admission_refused,
                        "rehoming guest \"" + guest.name() + "\" with bind_memory to node " + std::to_string(node) +
                            ": it holds " + base::bytes_text(held) + ", the node has " + base::bytes_text(free) +
                            " free, of which " + base::bytes_text(kept) + " are kept",
                        "free memory there, or reclaim some of the guest's");
  }
  struct Undo {
    region::FaultService* faults;
    region::GuestMemory& memory;
    ~Undo() {
      if (faults != nullptr) faults->cancel(memory);
    }
  } undo{nullptr, m};
  if (managing_possible()) {
    if (auto r = to->faults->reserve(m); !r) return r;
    undo.faults = to->faults.get();
  }
  if (auto r = to->worker->reserve(); !r) return r;
  if (auto r = m.set_home(node); !r) return r;
  undo.faults = nullptr;
  {
    const GuestCore::HomeChange change(guest, *to);
    // Writes end, then reads.
    to->worker->take_over(m, *from.worker);
    if (managing_possible()) to->faults->take_over(m, *from.faults);
  }
  const auto promise = promise_of(m);
  count_promise(from, promise, false);
  count_promise(*to, promise, true);
  auto& home = guest.home;
  home.homed_back = home.last_move.load() != HomeRecord::kNever && home.came_from == node;
  home.came_from = from.node.id;
  home.last_move = clock_.now().count();
  ++home.moves;
  const auto unbound = guest.bind_seats();
  // From the first page on: what is on the node already is passed over. The rate of a guest that has just come; the
  // scheduler's next look knows how much is remote.
  guest.migration().begin(node);
  home.local = 0;
  to->free.store(os::node_free_bytes(node).value_or(to->node.memory), std::memory_order_relaxed);
  try {
    set_migration_rate(guest, unused_migration_rate(guest), clock_.now());
    emit(EventKind::guest_rehomed, guest.name(), held, why,
         "from node " + std::to_string(from.node.id) + " to node " + std::to_string(node) + ": " + reason +
             (unbound == 0 ? "" : "; " + std::to_string(unbound) + " of its threads could not be bound to it"));
  } catch (const std::bad_alloc&) {
    // No memory for the news of it. The scheduler's next look says how fast memory follows.
  }
  return {};
}

Result<void> HostCore::confine(GuestCore& guest, const GuestOptions& options) {
  const auto& allowed = options.node_affinity;
  const auto is_home = [&](int id) { return id == guest.node().node.id; };
  if (allowed.empty() || std::any_of(allowed.begin(), allowed.end(), is_home)) return {};
  const auto placement = policy::plan_placement(placement_snapshot(options));
  if (!placement.node)
    return base::fail(Errc::admission_refused,
                      "configure of guest \"" + guest.name() + "\": GuestOptions::node_affinity = " +
                          base::list_text(allowed) + ": " + placement.reason,
                      "allow a node that has room for it");
  return change_home(guest, *placement.node, "affinity", placement.reason);
}

}  // namespace vmm
