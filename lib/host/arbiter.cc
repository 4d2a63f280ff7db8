#include "host/arbiter.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "host/guest_balloon.h"
#include "reclaim/swap_store.h"

namespace vmm::host {

using region::GuestMemory;

namespace {

std::uint64_t load(const std::atomic<std::uint64_t>& a) noexcept { return a.load(std::memory_order_relaxed); }
std::string pages_text(std::uint64_t pages) { return base::bytes_text(pages * kPageSize); }

}  // namespace

Entitlement entitlement_of(const GuestOptions& o) {
  return {o.shares, o.reservation, o.limit, o.pool, o.idle_tax, o.balloon_max};
}

Arbiter::Arbiter(const HostOptions& options, region::Credit& credit, ArbiterListener& listener)
    : credit_(credit), listener_(listener), options_(options) {
  base::MutexLock lock(mutex_);
  pools_.push_back(std::make_unique<Pool>("/", nullptr, PoolOptions()));
  take_settings();
}

// What follows from the options and the budget.
void Arbiter::take_settings() {
  const auto budget = credit_.budget();
  marks_ = policy::state_marks(options_.memory_ladder, budget, options_.min_free);
  min_free_pages_ = marks_.high;
  min_free_ = budget != 0 ? static_cast<double>(marks_.high) / static_cast<double>(budget) : 0;
  auto& marks = credit_.marks();
  marks.low = policy::ahead_mark(marks_);
  marks.read_ahead = marks_.high / 2;
  // Plentiful, so that memory is filled ahead of use, well above the threshold only.
  marks.roomy = 2 * marks_.high + budget / 16;
  want_targets();
}

HostOptions Arbiter::options() {
  base::MutexLock lock(mutex_);
  return options_;
}

Arbiter::Member* Arbiter::find(const GuestMemory& guest) {
  const auto m = std::find_if(members_.begin(), members_.end(), [&](const Member& x) { return x.memory == &guest; });
  return m == members_.end() ? nullptr : &*m;
}

void Arbiter::apply(Member& m, Pool& pool, const Entitlement& e) {
  m.entitlement = e;
  m.memory->arbitration.limit = e.limit / kPageSize;
  m.memory->arbitration.reserved = e.reservation / kPageSize;
  m.memory->arbitration.shares = e.shares.of(m.memory->pages() * kPageSize);
  m.memory->arbitration.pool_name = &pool.path;
  // The root has no limit but the budget, which the credit keeps.
  if (m.pool != &pool) m.memory->set_pool(pool.parent != nullptr ? &pool.charge : nullptr);
  m.pool = &pool;
  m.advised_limit = m.advised_reservation = false;
  want_targets();
}

void Arbiter::add(GuestMemory& guest, GuestBalloon& balloon, const Entitlement& e) {
  base::MutexLock lock(mutex_);
  auto* pool = find_pool(e.pool);
  VMM_CHECK(pool != nullptr);
  members_.push_back({&guest, &balloon, {}, nullptr});
  apply(members_.back(), *pool, e);
}

void Arbiter::remove(const GuestMemory& guest) noexcept {
  base::MutexLock lock(mutex_);
  if (auto* m = find(guest)) {
    // Its memory leaves the pool's charge when no thread can charge it any more.
    m->memory->arbitration.stopped.store(false, std::memory_order_release);
    members_.erase(members_.begin() + (m - members_.data()));
  }
  want_targets();
}

Entitlement Arbiter::entitlement(const GuestMemory& guest) {
  base::MutexLock lock(mutex_);
  const auto* m = find(guest);
  return m != nullptr ? m->entitlement : Entitlement();
}

std::vector<policy::TargetPool> Arbiter::target_pools() {
  std::vector<policy::TargetPool> pools;
  for (const auto& p : pools_) {
    // Of guests as of pools, limits are without overhead; it is added when the guests are known.
    pools.push_back({p->parent != nullptr ? p->parent->index : 0, p->options.shares.of(16 * GiB),
                     p->options.reservation / kPageSize, p->options.limit / kPageSize});
  }
  for (const auto& m : members_)
    for (const Pool* p = m.pool; p != nullptr; p = p->parent)
      if (pools[p->index].limit != 0) pools[p->index].limit += load(m.memory->arbitration.overhead);
  return pools;
}

// What the balloon may take: in percent of the guest, what its owner allows, and never what is reserved.
std::uint64_t Arbiter::balloon_max(const Member& m) const {
  const auto pages = m.memory->pages();
  const auto most = pages / 100 * options_.balloon_max_percent + pages % 100 * options_.balloon_max_percent / 100;
  const auto own = m.entitlement.balloon_max.value_or(pages * kPageSize) / kPageSize;
  return std::min({most, own, pages - m.entitlement.reservation / kPageSize});
}

policy::ReclaimGuest Arbiter::claim_of(const Member& m, base::Nanos now) {
  const auto& c = m.memory->counters;
  policy::ReclaimGuest g;
  g.resident = m.memory->held();
  g.staged = load(c.staging);
  g.parked = std::min(load(c.parked), g.staged);
  g.pinned = load(c.pinned);
  g.swappable = m.memory->adopted() && reclaim::SwapStore::of(*m.memory).writable(now);
  g.ballooned = load(c.ballooned);
  const auto& driver = m.balloon->driver;
  if (m.memory->adopted() && driver.has_driver()) {
    g.balloon_max = balloon_max(m);
    g.balloon = !driver.distrusted(now) && !driver.exhausted(now);
    g.inflating = g.balloon && driver.busy() ? m.asked : 0;
  }
  auto& claim = g.claim;
  claim.pool = m.pool->index;
  claim.shares = m.entitlement.shares.of(m.memory->pages() * kPageSize);
  claim.reservation = m.entitlement.reservation / kPageSize;
  claim.limit = m.entitlement.limit / kPageSize;
  claim.overhead = load(m.memory->arbitration.overhead);
  claim.consumed = g.resident + claim.overhead;
  claim.wanted = claim.consumed + load(c.swapped) + g.ballooned;
  claim.tax = m.entitlement.idle_tax.value_or(options_.idle_tax);
  const auto active =
      m.memory->arbitration.active.load(std::memory_order_relaxed) * static_cast<double>(m.memory->pages());
  claim.active = g.resident > 0 ? std::min(1.0, active / static_cast<double>(g.resident)) : 1.0;
  return g;
}

policy::ReclaimSnapshot Arbiter::snapshot(base::Nanos now) {
  policy::ReclaimSnapshot s;
  s.budget = credit_.usable();
  s.free = credit_.free();
  s.marks = marks_;
  s.state = state();
  s.starving = credit_.somebody_waits();
  s.pools = target_pools();
  s.guests.reserve(members_.size());
  double most = 0;
  for (const auto& m : members_) {
    s.guests.push_back(claim_of(m, now));
    if (m.demand.known()) most = std::max(most, m.demand.activity(s.guests.back().resident));
  }
  // Beside the samples, which know of minutes, what reclaim has seen in seconds. Without samples all count as active.
  if (options_.sample_pages > 0 && most > 0)
    for (std::size_t i = 0; i < members_.size(); ++i) {
      auto& g = s.guests[i];
      const auto& demand = members_[i].demand;
      if (demand.known()) g.claim.active = std::min(g.claim.active, demand.activity(g.resident) / most);
    }
  return s;
}

void Arbiter::step_state(policy::ReclaimSnapshot& s) {
  const auto next = policy::next_state(s.state, s.free, marks_);
  if (next == s.state) return;
  const char* const from = to_string(s.state);
  state_.store(next, std::memory_order_relaxed);
  s.state = next;
  if (next != MemoryState::high) listener_.memory_short();
  listener_.emit(EventKind::state_changed, "", s.free * kPageSize, to_string(next),
                 std::string(from) + " -> " + to_string(next) + ": " + pages_text(s.free) + " of " +
                     pages_text(s.budget) + " are free, " + pages_text(marks_.high) + " are to be");
}

bool Arbiter::balance_due(std::uint64_t free, base::Nanos now) const {
  const auto& marks = credit_.marks();
  return targets_wanted_.load(std::memory_order_acquire) || now - last_balance_ >= options_.balance_period ||
         free < load(marks.plan_from) || free > load(marks.plan_to);
}

void Arbiter::balance(const policy::ReclaimSnapshot& s, base::Nanos now) {
  targets_wanted_.exchange(false, std::memory_order_acq_rel);
  const bool deflate = now - last_balance_ >= options_.balance_period || last_balance_ == base::Nanos{};
  auto& marks = credit_.marks();
  const auto band = std::max<std::uint64_t>(credit_.budget() / 50, 1);
  marks.plan_from = s.free - std::min(s.free, band);
  marks.plan_to = s.free + band;
  policy::TargetSnapshot t;
  t.pools = s.pools;
  std::uint64_t held = 0;
  for (const auto& g : s.guests) {
    t.guests.push_back(g.claim);
    held += g.claim.consumed;
  }
  const auto others = credit_.consumed() - std::min(credit_.consumed(), held);
  const auto kept = others + policy::return_mark(marks_.high);
  t.memory = s.budget - std::min(s.budget, kept);
  const auto targets = policy::plan_targets(t).pages;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    members_[i].memory->arbitration.target.store(targets[i], std::memory_order_relaxed);
    advise(members_[i]);
  }
  if (!deflate) return;
  // Once a period, so that balloons are given back slowly.
  last_balance_ = now;
  correct_charges();
  const auto back = policy::plan_deflate(s);
  for (std::size_t i = 0; i < members_.size(); ++i)
    // Busy with that it gives nothing that could be waited for.
    if (back[i] > 0 && members_[i].balloon->driver.deflate(back[i], now)) members_[i].asked = 0;
}

// A guest that changed pools while it took or gave pages has left that many in the wrong charge: what is the same twice
// is no page under way.
void Arbiter::correct_charges() {
  // The root's own guests charge no pool.
  std::vector<std::int64_t> held(pools_.size());
  for (const auto& m : members_)
    for (const Pool* p = m.pool->parent != nullptr ? m.pool : nullptr; p != nullptr; p = p->parent)
      held[p->index] += static_cast<std::int64_t>(load(m.memory->counters.resident));
  for (auto& p : pools_) {
    const auto drift = p->charge.raw_pages() - held[p->index];
    if (drift != 0 && drift == p->last_drift) p->charge.correct(drift);
    p->last_drift = drift;
  }
}

// What the documents advise against, said once for each setting.
void Arbiter::advise(Member& m) {
  const auto& a = m.memory->arbitration;
  if (load(a.samples) == 0) return;
  const auto fraction = a.active.load(std::memory_order_relaxed);
  const auto active = static_cast<std::uint64_t>(fraction * static_cast<double>(m.memory->pages()));
  const auto reserved = load(a.reserved), limit = load(a.limit);
  if (reserved > active + active / 8 && !m.advised_reservation) {
    m.advised_reservation = true;
    listener_.emit(EventKind::reservation_advice, m.memory->name(), reserved * kPageSize, "admission",
                   pages_text(reserved) + " are reserved, " + pages_text(active) +
                       " are in use: others could have the rest");
  }
  if (limit != 0 && limit < active && !m.advised_limit) {
    m.advised_limit = true;
    listener_.emit(EventKind::limit_advice, m.memory->name(), limit * kPageSize, "limit",
                   "limited to " + pages_text(limit) + " with " + pages_text(active) +
                       " in use: it will swap whatever memory is free");
  }
}

// In low, who is above its target stops; when the state clears, or after stop_timeout, it goes on.
void Arbiter::stop_and_go(const policy::ReclaimSnapshot& s, base::Nanos now) {
  const bool low = state() == MemoryState::low && options_.stop_timeout.count() > 0;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    auto& m = members_[i];
    auto& c = m.memory->counters;
    if (!low) m.stop_spent = false;
    if (m.stopped) {
      region::bump(c.stopped_ns, static_cast<std::uint64_t>(std::max<base::Nanos>(now - m.stop_counted, {}).count()));
      m.stop_counted = std::max(m.stop_counted, now);
      const bool over_time = now - m.stopped_since >= options_.stop_timeout;
      if (low && !over_time) continue;
      m.stopped = false;
      m.stop_spent = low;
      m.memory->arbitration.stopped.store(false, std::memory_order_release);
      listener_.stops_ended();
      if (low)
        listener_.emit(EventKind::stop_ended, m.memory->name(), m.memory->held() * kPageSize, "stop",
                       "after stop_timeout, " + std::to_string(options_.stop_timeout.count()) +
                           " ms, the state is low still; who waits for one of its locks need not wait longer");
    } else if (low && !m.stop_spent && m.memory->adopted()) {
      const auto held = s.guests[i].claim.consumed;
      const auto target = load(m.memory->arbitration.target);
      if (held <= target) continue;
      m.stopped = true;
      m.stopped_since = m.stop_counted = now;
      m.memory->arbitration.stopped.store(true, std::memory_order_release);
      region::bump(c.stops);
      listener_.stops_began();
      listener_.emit(EventKind::guest_stopped, m.memory->name(), (held - target) * kPageSize, "stop",
                     "state low: it holds " + pages_text(held) + ", its target is " + pages_text(target) +
                         "; its faults wait until the state clears");
    }
  }
}

// Judges what its driver has answered, and whether it answers at all.
void Arbiter::look_at_balloon(Member& m, base::Nanos now) {
  auto& driver = m.balloon->driver;
  auto& a = m.memory->arbitration;
  const auto most = balloon_max(m);
  m.balloon->pages.set_most(most);
  const bool has_driver = driver.has_driver();
  a.balloon_max.store(has_driver ? most : 0, std::memory_order_relaxed);
  // Before the statistics say so, and those before the event does.
  if (has_driver) driver.poll(now, options_.balloon_timeout);
  a.balloon_distrusted.store(has_driver && driver.distrusted(now), std::memory_order_relaxed);
  if (!has_driver || !driver.busy()) a.balloon_target = load(m.memory->counters.ballooned);
  if (!has_driver) return;
  if (auto news = driver.take_news())
    listener_.emit(EventKind::balloon_distrusted, m.memory->name(), m.asked * kPageSize, "balloon",
                   "the driver " + news->reason + "; its guest is swapped instead for a while");
}

policy::ReclaimSnapshot Arbiter::look(base::Nanos now) {
  for (auto& m : members_) {
    look_at_balloon(m, now);
    const auto& c = m.memory->counters;
    // What its owner asked for says nothing about it.
    const auto left = load(c.freed), asked = load(c.freed_for[static_cast<std::size_t>(policy::ReclaimReason::asked)]);
    m.demand.see(now, {left - std::min(left, asked), load(c.pages_rescued), load(c.swapped_in) + load(c.pages_filled)});
  }
  auto s = snapshot(now);
  step_state(s);
  // In low, who stops is decided by what everybody holds now: who grows below its share goes on.
  // When much has come free faults tell of it being used again.
  if (s.free >= policy::ahead_mark(marks_)) credit_.marks().low = policy::ahead_mark(marks_);
  if (balance_due(s.free, now) || s.state == MemoryState::low) balance(s, now);
  stop_and_go(s, now);
  return s;
}

Arbiter::Plan Arbiter::plan(base::Nanos now) {
  base::MutexLock lock(mutex_);
  Plan p;
  const auto s = look(now);
  p.reclaim = policy::plan_reclaim(s);
  credit_.marks().low = policy::wake_mark(marks_, s.free);
  p.guests.reserve(members_.size());
  for (std::size_t i = 0; i < members_.size(); ++i) {
    auto& m = members_[i];
    p.guests.push_back(m.memory);
    const auto wanted = p.reclaim.steps[i].inflate;
    p.awaited |= s.guests[i].inflating > 0;
    if (wanted == 0) continue;
    // Before it is asked: what it gives counts for that.
    if (!m.balloon->driver.busy()) m.memory->arbitration.balloon_reason = p.reclaim.steps[i].reason;
    if (const auto asked = m.balloon->driver.inflate(wanted, now); asked > 0) {
      p.asked += m.asked = asked;
      p.awaited = true;
      m.memory->arbitration.balloon_target = s.guests[i].ballooned + asked;
    }
  }
  return p;
}

base::Nanos Arbiter::observe(base::Nanos now) {
  base::MutexLock lock(mutex_);
  look(now);
  base::Nanos next = last_balance_ + options_.balance_period;
  for (const auto& m : members_)
    if (m.stopped) next = std::min<base::Nanos>(next, m.stopped_since + options_.stop_timeout);
  return next;
}

}  // namespace vmm::host
