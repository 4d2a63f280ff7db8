// The arbiter's tree of pools: what is guaranteed to whom, and changes of it.
#include <algorithm>

#include "base/above.h"
#include "base/error.h"
#include "base/text.h"
#include "host/arbiter.h"
#include "host/options_check.h"

namespace vmm::host {
namespace {

std::string quoted(const std::string& path) { return "pool \"" + path + "\""; }

}  // namespace

Arbiter::Pool* Arbiter::find_pool(const std::string& path) {
  const auto p = std::find_if(pools_.begin(), pools_.end(), [&](const auto& x) { return x->path == path; });
  return p == pools_.end() ? nullptr : p->get();
}

void Arbiter::reindex() {
  for (std::size_t i = 0; i < pools_.size(); ++i) pools_[i]->index = i;
}

// Pages that can be guaranteed.
std::uint64_t Arbiter::capacity(std::uint64_t budget, double min_free) const noexcept {
  const auto usable = static_cast<std::uint64_t>(static_cast<double>(budget) * (1.0 - min_free));
  return usable - std::min({usable, overhead_.load(std::memory_order_relaxed), budget / 2});
}

std::vector<policy::AdmissionPool> Arbiter::admission_pools() {
  std::vector<policy::AdmissionPool> pools;
  for (const auto& p : pools_)
    pools.push_back({p->parent != nullptr ? p->parent->index : 0, p->options.reservation / kPageSize,
                     p->options.expandable_reservation, p->options.limit / kPageSize, 0});
  pools[0].reserved = pinned_beyond_.load(std::memory_order_relaxed);
  for (const auto& m : members_)
    pools[m.pool->index].reserved += m.entitlement.reservation / kPageSize +
                                     m.memory->arbitration.overhead.load(std::memory_order_relaxed);
  return pools;
}

// Says what is missing where, if `after` is more than there is.
Result<void> Arbiter::refuse_shortage(const std::string& what, const std::vector<policy::AdmissionPool>& after) {
  const auto can = capacity(credit_.budget(), min_free());
  const auto shortage = policy::find_shortage(admission_pools(), can, after, can);
  if (!shortage) return {};
  const auto missing = base::bytes_text(shortage->missing * kPageSize) + " are missing, ";
  const auto unreserved = base::bytes_text(shortage->unreserved * kPageSize) + " are unreserved in ";
  if (shortage->pool == 0)
    return base::fail(Errc::admission_refused, what + ": " + missing + unreserved + "HostOptions::memory",
                      "lower the reservation or the memory, or raise HostOptions::memory");
  const auto& path = shortage->pool < pools_.size() ? pools_[shortage->pool]->path : what;
  if (shortage->limit)
    return base::fail(Errc::admission_refused, what + ": " + missing + unreserved + "the limit of " + quoted(path),
                      "lower the reservation, or raise the pool's limit");
  return base::fail(Errc::admission_refused, what + ": " + missing + unreserved + "the reservation of " + quoted(path),
                    "lower the reservation, raise the pool's, or make it expandable");
}

Result<void> Arbiter::create_pool(const std::string& path, const PoolOptions& options) {
  if (auto r = check_pool_options(path, options); !r) return r;
  base::MutexLock lock(mutex_);
  if (find_pool(path) != nullptr) return base::invalid(quoted(path), "it exists already: use configure_pool");
  const auto slash = path.rfind('/');
  const auto above = slash == 0 ? std::string("/") : path.substr(0, slash);
  auto* parent = find_pool(above);
  if (parent == nullptr) return base::invalid(quoted(path), "make " + quoted(above) + " first");
  auto after = admission_pools();
  after.push_back({parent->index, options.reservation / kPageSize, options.expandable_reservation,
                   options.limit / kPageSize, 0});
  const auto what = quoted(path) + ": PoolOptions::reservation = " + std::to_string(options.reservation);
  if (auto r = refuse_shortage(what, after); !r) return r;
  pools_.push_back(std::make_unique<Pool>(path, parent, options));
  pools_.back()->charge.limit = options.limit / kPageSize;
  reindex();
  return {};
}

// What the pool's options would be. Errors: those of configure_pool.
Result<PoolOptions> Arbiter::changed_options(const std::string& path, const PoolChange& change) {
  const auto* pool = find_pool(path);
  if (pool == nullptr) return base::invalid(quoted(path), "there is no such pool: use create_pool");
  if (pool->parent == nullptr)
    return base::invalid(quoted(path), "the root is the host: use Host::configure, or make a pool");
  auto options = pool->options;
  options.shares = change.shares.value_or(options.shares);
  options.reservation = change.reservation.value_or(options.reservation);
  options.expandable_reservation = change.expandable_reservation.value_or(options.expandable_reservation);
  options.limit = change.limit.value_or(options.limit);
  if (auto r = check_pool_options(path, options); !r) return tl::unexpected(r.error());
  if (const auto kept = kept_in(*pool, nullptr) * kPageSize; options.limit != 0 && options.limit < kept)
    return base::invalid(quoted(path) + ": PoolOptions::limit = " + std::to_string(options.limit),
                         "at least what its guests have reserved or pinned, " + std::to_string(kept));
  auto after = admission_pools();
  auto& a = after[pool->index];
  a.reservation = options.reservation / kPageSize;
  a.expandable = options.expandable_reservation;
  a.limit = options.limit / kPageSize;
  const auto what = quoted(path) + ": PoolOptions::reservation = " + std::to_string(options.reservation);
  if (auto r = refuse_shortage(what, after); !r) return tl::unexpected(r.error());
  return options;
}

Result<void> Arbiter::check_pool_change(const std::string& path, const PoolChange& change) {
  base::MutexLock lock(mutex_);
  if (auto r = changed_options(path, change); !r) return tl::unexpected(r.error());
  return {};
}

Result<void> Arbiter::configure_pool(const std::string& path, const PoolChange& change) {
  base::MutexLock lock(mutex_);
  auto options = changed_options(path, change);
  if (!options) return tl::unexpected(options.error());
  auto* pool = find_pool(path);
  pool->options = *options;
  pool->charge.limit = options->limit / kPageSize;
  want_targets();
  return {};
}

Result<void> Arbiter::remove_pool(const std::string& path) {
  base::MutexLock lock(mutex_);
  auto* pool = find_pool(path);
  if (pool == nullptr) return base::invalid(quoted(path), "there is no such pool");
  if (pool->parent == nullptr) return base::invalid(quoted(path), "the root stays");
  for (const auto& m : members_)
    if (m.pool == pool)
      return base::invalid(quoted(path), "guest \"" + m.memory->name() + "\" is in it: configure it to another pool");
  for (const auto& p : pools_)
    if (p->parent == pool) return base::invalid(quoted(path), "remove " + quoted(p->path) + " first");
  removed_.push_back(std::move(pools_[pool->index]));
  pools_.erase(pools_.begin() + static_cast<std::ptrdiff_t>(pool->index));
  reindex();
  want_targets();
  return {};
}

// Pages in the pool that nobody takes: pinned or reserved.
std::uint64_t Arbiter::kept_in(const Pool& pool, const Member* except) {
  std::uint64_t kept = 0;
  for (const auto& m : members_)
    for (const Pool* p = m.pool; p != nullptr && &m != except; p = p->parent)
      if (p == &pool)
        kept += std::max(m.memory->counters.pinned.load(std::memory_order_relaxed),
                         m.memory->arbitration.reserved.load(std::memory_order_relaxed));
  return kept;
}

std::uint64_t Arbiter::pinnable_in_pools(const region::GuestMemory& guest) {
  base::MutexLock lock(mutex_);
  auto most = ~std::uint64_t{0};
  const auto* m = find(guest);
  for (const Pool* p = m != nullptr ? m->pool : nullptr; p != nullptr; p = p->parent) {
    const auto limit = p->options.limit / kPageSize;
    // Pages are exchanged within a limit: some of it stays for what moves.
    const auto kept = kept_in(*p, m) + kHugePageSize / kPageSize;
    if (limit != 0) most = std::min(most, limit - std::min(limit, kept));
  }
  return most;
}

bool Arbiter::pool_limited(const std::string& path) {
  base::MutexLock lock(mutex_);
  for (const auto* p = find_pool(path); p != nullptr; p = p->parent)
    if (p->options.limit != 0) return true;
  return false;
}

Result<void> Arbiter::admit(const std::string& name, const Entitlement& e, std::uint64_t overhead) {
  base::MutexLock lock(mutex_);
  const auto* pool = find_pool(e.pool);
  const auto who = "guest \"" + name + "\": ";
  if (pool == nullptr) return base::invalid(who + "GuestOptions::pool = \"" + e.pool + "\"", "create the pool first");
  auto after = admission_pools();
  after[pool->index].reserved += (e.reservation + overhead + kPageSize - 1) / kPageSize;
  return refuse_shortage(who + "GuestOptions::reservation = " + std::to_string(e.reservation) + " and " +
                             base::bytes_text(overhead) + " of tables",
                         after);
}

Result<void> Arbiter::change(const region::GuestMemory& guest, const Entitlement& e) {
  base::MutexLock lock(mutex_);
  if (auto r = check_change_locked(guest, e); !r) return r;
  apply(*find(guest), *find_pool(e.pool), e);
  return {};
}

Result<void> Arbiter::check_change(const region::GuestMemory& guest, const Entitlement& e) {
  base::MutexLock lock(mutex_);
  return check_change_locked(guest, e);
}

Result<void> Arbiter::check_change_locked(const region::GuestMemory& guest, const Entitlement& e) {
  auto* m = find(guest);
  if (m == nullptr)
    return base::fail(Errc::inert_handle, "configure of guest \"" + guest.name() + "\"", "it has ended");
  auto* pool = find_pool(e.pool);
  const auto who = "guest \"" + guest.name() + "\": ";
  if (pool == nullptr) return base::invalid(who + "GuestOptions::pool = \"" + e.pool + "\"", "create the pool first");
  const auto pinned = guest.counters.pinned.load(std::memory_order_relaxed) * kPageSize;
  if (e.limit != 0 && e.limit < pinned)
    return base::invalid(who + "GuestOptions::limit = " + std::to_string(e.limit),
                         "at least what is pinned, " + std::to_string(pinned) + ", or release pins first");
  auto after = admission_pools();
  const auto overhead = guest.arbitration.overhead.load(std::memory_order_relaxed);
  after[m->pool->index].reserved -= m->entitlement.reservation / kPageSize + overhead;
  after[pool->index].reserved += e.reservation / kPageSize + overhead;
  return refuse_shortage(who + "GuestOptions::reservation = " + std::to_string(e.reservation), after);
}

Result<void> Arbiter::configure(const HostOptions& options, std::uint64_t budget) {
  base::MutexLock lock(mutex_);
  const auto marks = policy::state_marks(options.memory_ladder, budget, options.min_free);
  const auto kept = budget != 0 ? static_cast<double>(marks.high) / static_cast<double>(budget) : 0;
  const auto pools = admission_pools();
  const auto needed = policy::reserved_within(pools)[0];
  const auto has = capacity(budget, kept);
  if (policy::find_shortage(pools, capacity(credit_.budget(), min_free()), pools, has))
    return base::fail(Errc::admission_refused,
                      "HostOptions::memory = " + std::to_string(budget * kPageSize) + ": " +
                          base::bytes_text(needed * kPageSize) + " are reserved, " + base::bytes_text(has * kPageSize) +
                          " can be",
                      "give more memory, or lower reservations first");
  options_ = options;
  credit_.set_budget(budget);
  take_settings();
  return {};
}

std::uint64_t Arbiter::pinnable_beyond(std::uint64_t others) {
  base::MutexLock lock(mutex_);
  auto pools = admission_pools();
  pools[0].reserved -= std::min(pools[0].reserved, pinned_beyond_.load(std::memory_order_relaxed));
  return base::above(capacity(credit_.budget(), min_free()), policy::reserved_within(pools)[0] + others);
}

std::vector<PoolStats> Arbiter::pool_stats() {
  base::MutexLock lock(mutex_);
  const auto within = policy::reserved_within(admission_pools());
  std::vector<PoolStats> all(pools_.size());
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    const auto& p = *pools_[i];
    auto& s = all[i];
    s.name = p.path;
    s.shares = p.options.shares.of(16 * GiB);
    s.reservation = p.parent != nullptr ? p.options.reservation : capacity(credit_.budget(), min_free()) * kPageSize;
    s.reserved = within[i] * kPageSize;
    s.limit = p.options.limit;
    s.expandable_reservation = p.options.expandable_reservation;
  }
  for (const auto& m : members_) {
    const auto consumed = m.memory->held() + m.memory->arbitration.overhead.load(std::memory_order_relaxed);
    for (const Pool* p = m.pool; p != nullptr; p = p->parent) all[p->index].consumed += consumed * kPageSize;
  }
  return all;
}

}  // namespace vmm::host
