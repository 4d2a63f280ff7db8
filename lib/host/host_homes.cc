// Homes of guests: the home-node scheduler's look, and a guest's change of its home.
#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "host/host_core.h"
#include "host/options_check.h"
#include "migrate/node_census.h"
#include "os/node_info.h"
#include "policy/thread_weights.h"

namespace vmm {
namespace {

using host::HomeRecord;

// Pages looked at by one census, and by those of one round together: about 0.4 us each.
constexpr std::uint64_t kMostCounted = 512, kLeastCounted = 64, kMostCountedTogether = 1 << 16;
// A guest that had less of its memory with it goes back to where most of it still is.
constexpr double kMostlyLocal = 0.5;

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
  r.weighted = o.cpu_weights;
  return r;
}

// Whether a guest of that affinity, empty for all nodes, may live on the node.
bool allows(const std::vector<int>& affinity, int node) {
  return affinity.empty() || std::find(affinity.begin(), affinity.end(), node) != affinity.end();
}

}  // namespace

host::NodeRuntime* HostCore::runtime_of(int node) noexcept {
  for (const auto& n : nodes_)
    if (n->node.id == node) return n.get();
  return nullptr;
}

// The scheduler's look at nodes and guests: counts, decides, and says how fast memory follows.
void HostCore::look_at_homes(base::Nanos now) {
  if (nodes_.size() < 2 && !options_.cpu_weights) return;
  const auto options = arbiter_.options();
  policy::RebalanceSnapshot s;
  s.now = now;
  s.elapsed = last_homes_look_ == base::Nanos{} ? base::Nanos(options.rebalance_period) : now - last_homes_look_;
  s.history = rebalance_history_;
  std::vector<int> ids;
  for (const auto& n : nodes_) {
    ids.push_back(n->node.id);
    s.nodes.push_back({n->node.id, static_cast<unsigned>(n->node.cpus.size()), n->node.memory, n->free, false});
  }
  const auto all = guests();
  std::vector<std::unique_ptr<host::GatePass>> passes;
  std::vector<GuestCore*> there;
  const auto sample = static_cast<std::uint32_t>(
      std::clamp(kMostCountedTogether / std::max<std::uint64_t>(all.size(), 1), kLeastCounted, kMostCounted));
  // More guests than are counted together take turns.
  const auto counted_at_once = kMostCountedTogether / sample;
  std::uint64_t place = all.empty() ? 0 : all.size() - census_turn_ % all.size();
  census_turn_ += counted_at_once;
  for (const auto& guest : all) {
    const bool its_turn = place++ % all.size() < counted_at_once;
    auto pass = std::make_unique<host::GatePass>(guest->gate());
    if (!*pass) continue;
    if (nodes_.size() > 1 && (its_turn || guest->migration().under_way())) count_nodes(*guest, ids, sample);
    s.guests.push_back(claim_of(*guest, ids, s.elapsed, now));
    passes.push_back(std::move(pass));
    there.push_back(guest.get());
  }
  auto limits = rebalance_options(options, arbiter_.min_free());
  // What is still on its way would be decided on once more.
  const bool busy = moves_.busy();
  if (!options.rebalance || busy) limits.max_moves = 0;
  const auto plan = policy::plan_rebalance(s, limits);
  // A layout that has been begun is gone on with when they are made.
  if (!busy) rebalance_history_ = plan.history;
  last_homes_look_ = now;
  for (std::size_t i = 0; i < nodes_.size(); ++i) nodes_[i]->load.store(plan.loads[i], std::memory_order_relaxed);
  for (std::size_t i = 0; i < there.size(); ++i) there[i]->home.owed = plan.owed[i];
  if (nodes_.size() > 1) follow(there, now);
  if (options.cpu_weights) weigh(there, s, plan);
  passes.clear();
  for (std::size_t i = 0; i < plan.moves.size();) {
    host::MoveQueue::Moves together;
    const auto partner = plan.moves[i].swapped_with;
    do {
      const auto& move = plan.moves[i++];
      together.push_back({there[move.guest]->weak_from_this(), move.from, move.to, to_string(move.why), move.reason});
    } while (partner && together.size() < 2 && i < plan.moves.size());
    if (options_.scheduler == Scheduler::manual) make_moves(together);
    else moves_.push(std::move(together));
  }
}

// Divides the processors of each node among the guests homed there.
void HostCore::weigh(const std::vector<GuestCore*>& guests, const policy::RebalanceSnapshot& snapshot,
                     const policy::RebalancePlan& plan) {
  const auto seconds = std::chrono::duration<double>(snapshot.elapsed).count();
  for (const auto& node : snapshot.nodes) {
    std::vector<GuestCore*> homed;
    std::vector<policy::WeighedGuest> weighed;
    for (std::size_t i = 0; i < guests.size(); ++i) {
      const auto& g = snapshot.guests[i];
      if (g.home != node.id) continue;
      homed.push_back(guests[i]);
      weighed.push_back({g.wanted, plan.entitlements[i], g.used, plan.owed[i], guests[i]->home.behind});
    }
    const auto weights = policy::plan_thread_weights(weighed, node.processors, seconds);
    for (std::size_t i = 0; i < homed.size(); ++i) {
      homed[i]->home.behind = weights[i].behind;
      if (auto r = homed[i]->weigh_seats(weights[i].nice); !r)
        emit(EventKind::not_weighed, homed[i]->name(), 0, "cpu_weights", r.error().message());
    }
  }
}

void HostCore::count_nodes(GuestCore& guest, const std::vector<int>& ids, std::uint32_t sample) {
  auto& home = guest.home;
  const auto moves = home.moves.load();
  const auto census = migrate::take_census(guest.memory(), ids, sample, homes_random_);
  const auto held = static_cast<double>(guest.memory().held() * kPageSize);
  home.by_node.clear();
  home.counted = held;
  // Of what nobody finds nothing is known to be elsewhere.
  double local = 1;
  for (std::size_t i = 0; i < ids.size() && census.known > 0; ++i) {
    home.by_node.push_back(static_cast<std::uint64_t>(held * census.part(i)));
    if (ids[i] == guest.node().node.id) local = census.part(i);
  }
  // What was counted for one home says nothing of another.
  base::MutexLock lock(rates_mutex_);
  if (!home.changing && home.moves.load() == moves) home.local.store(local, std::memory_order_relaxed);
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
  g.resident = m.held() * kPageSize;
  // As it was divided when it was counted.
  for (const auto bytes : home.by_node)
    g.by_node.push_back(static_cast<std::uint64_t>(static_cast<double>(bytes) / std::max(home.counted, 1.0) *
                                                   static_cast<double>(g.resident)));
  g.reservation = m.arbitration.reserved.load(std::memory_order_relaxed) * kPageSize;
  // Where its owner lets it be, and its threads may run.
  const auto allowed = guest.affinity();
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (allows(allowed, ids[i]) && guest.seats_fit(nodes_[i]->node)) g.affinity.push_back(ids[i]);
  g.movable = home.movable && !guest.options().bind_memory && !g.affinity.empty() && now.count() >= home.not_before;
  if (const auto last = home.last_move.load(); last != HomeRecord::kNever) g.last_move = base::Nanos(last);
  g.came_from = home.came_from;
  g.owed = home.owed;
  return g;
}

bool HostCore::make_move(const host::Move& move) {
  const auto guest = move.guest.lock();
  if (guest == nullptr) return false;
  Result<void> r;
  {
    base::MutexLock lock(control_);
    host::GatePass pass(guest->gate());
    if (!pass || down_ || !still_right(*guest, move)) return false;
    r = change_home(*guest, move.to, move.why, move.reason);
  }
  if (r) return true;
  guest->home.not_before = (clock_.now() + base::Nanos(options_.rebalance_cool_down)).count();
  emit(EventKind::rehoming_failed, guest->name(), 0, move.why, move.reason + ": " + r.error().message());
  return false;
}

// Whoever has changed something since it was decided on has the last word.
bool HostCore::still_right(GuestCore& guest, const host::Move& move) {
  const auto& home = guest.home;
  const auto now = clock_.now();
  const auto last = home.last_move.load();
  return guest.node().node.id == move.from && home.movable && arbiter_.options().rebalance &&
         allows(guest.affinity(), move.to) &&
         (last == HomeRecord::kNever || now - base::Nanos(last) >= options_.rebalance_cool_down) &&
         now.count() >= home.not_before;
}

void HostCore::make_moves(const host::MoveQueue::Moves& moves) {
  for (std::size_t i = 0; i < moves.size(); ++i) {
    bool made = false;
    try {
      made = make_move(moves[i]);
    } catch (const std::bad_alloc&) {
      // No memory to decide with: the scheduler will want it again.
    }
    if (made) continue;
    // Half an exchange is worse than none.
    while (i > 0) take_back(moves[--i]);
    return;
  }
}

void HostCore::take_back(const host::Move& move) {
  const auto guest = move.guest.lock();
  if (guest == nullptr) return;
  base::MutexLock lock(control_);
  host::GatePass pass(guest->gate());
  if (!pass || down_ || guest->node().node.id != move.to) return;
  // Its owner has the last word here, too.
  if (!guest->home.movable || !allows(guest->affinity(), move.from)) return;
  // Should that be refused, it stays, and the scheduler will find a place for it.
  static_cast<void>(change_home(*guest, move.from, move.why, "the other guest of the exchange could not be moved"));
}

void HostCore::run_moves() noexcept {
  while (const auto moves = moves_.pop()) {
    try {
      make_moves(*moves);
    } catch (const std::bad_alloc&) {
      // What could not be taken back stays, and is balanced anew.
    }
  }
}

Result<void> HostCore::rehome_guest(GuestCore& guest, int node) {
  // Before the lock, which another thread may have held at the fork.
  if (in_child()) return forked("rehome");
  base::MutexLock lock(control_);
  host::GatePass pass(guest.gate());
  if (auto error = guest.refused("rehome", pass)) return tl::unexpected(*error);
  const auto who = "rehome of guest \"" + guest.name() + "\": node";
  if (auto r = host::check_home_node(who, node, topology_); !r) return r;
  const auto allowed = guest.affinity();
  if (!allows(allowed, node))
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
  // What is shared comes along too, as pages of its own.
  const auto held = (m.held() + m.counters.shared.load(std::memory_order_relaxed)) * kPageSize;
  const auto free = os::node_free_bytes(node).value_or(to->node.memory);
  if (guest.options().bind_memory) {
    const auto kept = kept_free(*to);
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
  auto& home = guest.home;
  {
    // First of all: what is under way goes to the home that it leaves.
    base::MutexLock rates(rates_mutex_);
    home.changing = true;
    // Back before most of its memory had followed: what it had left is still there.
    home.homed_back =
        home.last_move.load() != HomeRecord::kNever && home.came_from == node && home.local < kMostlyLocal;
    home.came_from = from.node.id;
    home.last_move = clock_.now().count();
    ++home.moves;
    guest.migration().set_rate(0);
  }
  {
    const GuestCore::HomeChange change(guest, *to);
    // Writes end, then reads.
    to->worker->take_over(m, *from.worker);
    if (managing_possible()) to->faults->take_over(m, *from.faults);
  }
  const auto promise = promise_of(m);
  count_promise(from, promise, false);
  count_promise(*to, promise, true);
  const auto unbound = guest.bind_seats();
  to->free.store(free, std::memory_order_relaxed);
  {
    // From the first page on: what is on the node already is passed over. The rate of a guest that has just come; the
    // scheduler's next look knows how much is remote.
    base::MutexLock rates(rates_mutex_);
    guest.migration().begin(node);
    home.local = 0;
    home.changing = false;
    try {
      begin_migration_rate(guest);
    } catch (const std::bad_alloc&) {
      // The scheduler's next look says it.
    }
  }
  to->worker->wake();
  try {
    emit(EventKind::guest_rehomed, guest.name(), held, why,
         "from node " + std::to_string(from.node.id) + " to node " + std::to_string(node) + ": " + reason +
             (unbound == 0 ? "" : "; " + std::to_string(unbound) + " of its threads could not be bound to it"));
  } catch (const std::bad_alloc&) {
    // No memory for the news of it.
  }
  return {};
}

Result<void> HostCore::confine(GuestCore& guest, const GuestOptions& options) {
  const auto& allowed = options.node_affinity;
  if (allows(allowed, guest.node().node.id)) return {};
  // Of these, where its threads may run.
  auto possible = options;
  Result<void> unfit;
  std::erase_if(possible.node_affinity, [&](int id) {
    auto r = guest.seats_fit(runtime_of(id)->node);
    if (!r) unfit = r;
    return !r;
  });
  if (possible.node_affinity.empty()) return unfit;
  const auto placement = policy::plan_placement(placement_snapshot(possible));
  if (!placement.node)
    return base::fail(Errc::admission_refused,
                      "configure of guest \"" + guest.name() + "\": GuestOptions::node_affinity = " +
                          base::list_text(allowed) + ": " + placement.reason,
                      "allow a node that has room for it");
  last_node_ = placement.last_node;
  return change_home(guest, *placement.node, "affinity", placement.reason);
}

}  // namespace vmm
