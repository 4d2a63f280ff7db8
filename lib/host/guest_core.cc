#include "host/guest_core.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "host/host_core.h"
#include "host/seat.h"
#include "os/affinity.h"
#include "reclaim/balloon_pages.h"
#include "reclaim/discard.h"
#include "reclaim/swap_store.h"
#include "sharing/guest_frames.h"

namespace vmm {

using host::GatePass;

GuestCore::GuestCore(std::shared_ptr<HostCore> host, GuestOptions options, host::NodeRuntime& node,
                     std::unique_ptr<region::GuestMemory> memory)
    : host_(std::move(host)), options_(std::move(options)), node_(&node), memory_(std::move(memory)),
      affinity_(options_.node_affinity) {
  home.movable = options_.rebalance;
  pins_.emplace(*memory_);
  balloon_.emplace(*memory_);
  migration_.emplace(*memory_);
}

GuestCore::~GuestCore() = default;

GuestCore::Ended GuestCore::end() noexcept {
  if (ended_) return {};
  ended_ = true;
  gate_.close();
  host_->arbiter().remove(*memory_);
  // Calls inside that wait for the worker or for reads come back by these; what waits for a page, by the last.
  node().worker->detach(*memory_);
  if (memory_->frames) sharing::GuestFrames::of(*memory_).close();
  node().faults->remove(*memory_);
  memory_->shut();
  gate_.wait_until_empty();
  Ended ended;
  ended.overhead = memory_->arbitration.overhead.load();
  ended.driver = balloon_->driver.end();
  balloon_.reset();
  migration_.reset();
  pins_.reset();
  memory_.reset();
  return ended;
}

std::optional<Error> GuestCore::refused(const char* verb, const GatePass& pass) const {
  const auto text = std::string(verb) + " of guest \"" + options_.name + "\"";
  if (host_->in_child())
    return base::fail(Errc::forked_child, text, "use the guest in the process that made it").value();
  if (!pass) return base::fail(Errc::inert_handle, text, "the guest or its host has ended").value();
  return std::nullopt;
}

Result<GuestCore::Pages> GuestCore::pages_of(const char* verb, std::uint64_t offset, std::uint64_t bytes) const {
  const auto where = [&](const char* field, std::uint64_t value) {
    return std::string(verb) + " of guest \"" + options_.name + "\": " + field + " = " + std::to_string(value);
  };
  if (offset % kPageSize != 0) return base::invalid(where("offset", offset), "give a multiple of 4096");
  if (bytes % kPageSize != 0) return base::invalid(where("bytes", bytes), "give a multiple of 4096");
  if (bytes == 0) return base::invalid(where("bytes", bytes), "give at least one page, 4096 bytes");
  if (offset >= options_.memory) return base::invalid(where("offset", offset),
                                                      "the guest ends at " + std::to_string(options_.memory));
  if (bytes > options_.memory - offset)
    return base::invalid(where("bytes", bytes), "at most " + std::to_string(options_.memory - offset) + " from there");
  return Pages{offset / kPageSize, bytes / kPageSize};
}

Result<Seat> GuestCore::attach(Attach mode) {
  GatePass pass(gate_);
  if (auto error = refused("attach_current_thread", pass)) return tl::unexpected(*error);
  auto impl = std::make_shared<Seat::Impl>();
  impl->guest = shared_from_this();
  impl->thread = host::current_thread_token();
  impl->tid = os::current_tid();
  {
    base::MutexLock lock(impl->thread->mutex);
    if (impl->thread->seated) {
      impl->guest = nullptr;
      return base::fail(Errc::already_attached,
                        "attach_current_thread of guest \"" + options_.name + "\", thread " + std::to_string(impl->tid),
                        "drop the thread's seat first");
    }
    impl->thread->seated = true;
  }
  // Until the seat is whole, whatever ends this call takes it back.
  struct Undo {
    Seat::Impl* impl;
    ~Undo() {
      if (impl != nullptr) impl->release();
    }
  } undo{impl.get()};
  const host::NodeRuntime* bound_to = nullptr;
  if (mode == Attach::bind) {
    auto own = os::thread_affinity(0);
    if (!own) return tl::unexpected(own.error());
    impl->own_affinity = std::move(*own);
    bound_to = &node();
    if (auto r = impl->bind(bound_to->node); !r) return tl::unexpected(r.error());
  }
  impl->cpu_at_attach = impl->seen_cpu = os::thread_cpu_ns(0).value_or(0);
  impl->seen_wait = os::thread_wait_ns(impl->tid).value_or(0);
  base::MutexLock lock(seats_mutex_);
  // Who changes the home from now on sees the seat; who has done so before is seen here.
  if (bound_to != nullptr && bound_to != &node())
    if (auto r = impl->bind(node().node); !r) return tl::unexpected(r.error());
  seats_.push_back(impl);
  impl->counted = true;
  attached_.store(static_cast<unsigned>(seats_.size()), std::memory_order_relaxed);
  host_->count_seat(*this, true);
  undo.impl = nullptr;
  return Seat(std::move(impl));
}

void GuestCore::leave(Seat::Impl* seat) noexcept {
  // What a guest that has ended has cost was counted at its end.
  GatePass pass(gate_);
  base::MutexLock lock(seats_mutex_);
  if (pass && seat->counted) host_->count_seat(*this, false);
  seat->counted = false;
  std::erase_if(seats_, [&](const auto& weak) {
    const auto s = weak.lock();
    return s == nullptr || s.get() == seat;
  });
  attached_.store(static_cast<unsigned>(seats_.size()), std::memory_order_relaxed);
  attached_cpu_.fetch_sub(std::exchange(seat->told_cpu, 0), std::memory_order_relaxed);
}

Result<Pin> GuestCore::pin(std::uint64_t offset, std::uint64_t bytes) {
  GatePass pass(gate_);
  if (auto error = refused("pin", pass)) return tl::unexpected(*error);
  const auto range = pages_of("pin", offset, bytes);
  if (!range) return tl::unexpected(range.error());
  if (auto r = pins_->pin(range->first, range->count, host_->pinnable(*this)); !r) return tl::unexpected(r.error());
  return Pin(shared_from_this(), range->first, range->count);
}

void GuestCore::unpin(std::uint64_t first, std::uint64_t pages) noexcept {
  if (host_->in_child()) return;
  GatePass pass(gate_);
  if (pass) pins_->unpin(first, pages);
}

Result<void> GuestCore::discard(std::uint64_t offset, std::uint64_t bytes) {
  GatePass pass(gate_);
  if (auto error = refused("discard", pass)) return tl::unexpected(*error);
  const auto range = pages_of("discard", offset, bytes);
  if (!range) return tl::unexpected(range.error());
  return reclaim::discard(*memory_, *pins_, range->first, range->count);
}

Result<std::uint64_t> GuestCore::reclaim(std::uint64_t bytes) {
  GatePass pass(gate_);
  if (auto error = refused("reclaim", pass)) return tl::unexpected(*error);
  if (auto r = manage("reclaim was asked for"); !r) return tl::unexpected(r.error());
  const auto pages = bytes / kPageSize + (bytes % kPageSize != 0 ? 1 : 0);
  std::uint64_t freed = 0;
  for (bool settled = false; !settled && freed < pages;) {
    const auto changes = home_changes_.load();
    const auto more = node().worker->reclaim(*memory_, pages - freed);
    if (!more && freed == 0) return tl::unexpected(more.error());
    freed += more.value_or(0);
    settled = !more || home_stayed(changes);
  }
  return freed * kPageSize;
}

Result<std::uint64_t> GuestCore::restore() {
  GatePass pass(gate_);
  if (auto error = refused("restore", pass)) return tl::unexpected(*error);
  const auto before = memory_->counters.swapped_in.load(std::memory_order_relaxed);
  if (memory_->counters.swapped.load(std::memory_order_relaxed) == 0) return 0;
  for (bool settled = false; !settled;) {
    const auto changes = home_changes_.load();
    while (!region::FaultService::prefetch(*memory_, 0, memory_->pages()))
      region::FaultService::wait_prefetched(*memory_);
    region::FaultService::wait_prefetched(*memory_);
    settled = home_stayed(changes);
  }
  return (memory_->counters.swapped_in.load(std::memory_order_relaxed) - before) * kPageSize;
}

Result<void> GuestCore::prefetch(std::uint64_t offset, std::uint64_t bytes) {
  GatePass pass(gate_);
  if (auto error = refused("prefetch", pass)) return tl::unexpected(*error);
  const auto range = pages_of("prefetch", offset, bytes);
  if (!range) return tl::unexpected(range.error());
  if (memory_->counters.swapped.load(std::memory_order_relaxed) != 0)
    region::FaultService::prefetch(*memory_, range->first, range->first + range->count);
  return {};
}

Result<void> GuestCore::configure(const GuestChange& change) {
  // The gate is entered under the host's lock, which the guest's end waits under.
  return host_->configure_guest(*this, change);
}

Result<void> GuestCore::set_balloon(std::shared_ptr<BalloonDriver> driver) {
  // Let go of after the gate: the former driver's end may end guests.
  std::shared_ptr<BalloonDriver> former;
  GatePass pass(gate_);
  if (auto error = refused("set_balloon", pass)) return tl::unexpected(*error);
  auto r = balloon_->driver.set_driver(driver);
  if (!r) return tl::unexpected(r.error());
  former = std::move(*r);
  if (driver == nullptr) {
    // Nobody will be told of them: they are empty pages like others.
    for (std::uint64_t next = 0; next < memory_->pages();) {
      const auto back = reclaim::take_back(*memory_, next, memory_->pages() - next);
      if (back.count == 0) break;
      next = back.first + back.count;
    }
  }
  host_->arbiter().want_targets();
  return {};
}

Result<void> GuestCore::rehome(int node) {
  // As configure().
  return host_->rehome_guest(*this, node);
}

bool GuestCore::home_stayed(std::uint32_t changes) const noexcept {
  auto now = home_changes_.load();
  for (; now % 2 != 0; now = home_changes_.load()) home_changes_.wait(now);
  return now == changes;
}

host::WorkerHold GuestCore::hold_worker() noexcept {
  for (;;) {
    const auto changes = home_changes_.load();
    {
      host::WorkerHold held(*node().worker);
      // A home that is to change waits for it.
      if (changes % 2 == 0 && home_changes_.load() == changes) return held;
    }
    home_stayed(changes);
  }
}

std::vector<int> GuestCore::affinity() {
  base::MutexLock lock(seats_mutex_);
  return affinity_;
}

void GuestCore::set_affinity(std::vector<int> nodes) {
  base::MutexLock lock(seats_mutex_);
  affinity_ = std::move(nodes);
}

Result<void> GuestCore::seats_fit(const topology::Node& node) {
  base::MutexLock lock(seats_mutex_);
  for (const auto& weak : seats_)
    if (const auto seat = weak.lock())
      if (auto r = seat->fits(node); !r) return r;
  return {};
}

unsigned GuestCore::bind_seats() noexcept {
  unsigned failed = 0;
  base::MutexLock lock(seats_mutex_);
  for (const auto& weak : seats_)
    if (const auto seat = weak.lock()) failed += seat->try_bind(node().node) ? 0 : 1;
  return failed;
}

Result<void> GuestCore::weigh_seats(int nice) {
  Result<void> result;
  int greatest = 0;
  base::MutexLock lock(seats_mutex_);
  for (const auto& weak : seats_)
    if (const auto seat = weak.lock()) {
      if (auto r = seat->weigh(nice); !r) result = r;
      greatest = std::max(greatest, seat->weighed());
    }
  home.nice.store(greatest, std::memory_order_relaxed);
  return result;
}

host::CpuDemand GuestCore::cpu_demand(base::Nanos elapsed) {
  host::CpuDemand demand;
  const auto ns = static_cast<double>(std::max<base::Nanos::rep>(elapsed.count(), 1));
  base::MutexLock lock(seats_mutex_);
  for (const auto& weak : seats_) {
    const auto seat = weak.lock();
    if (seat == nullptr) continue;
    const auto times = seat->times_since_look();
    if (!times) continue;
    ++demand.threads;
    const auto used = std::min(1.0, static_cast<double>(times->cpu) / ns);
    demand.used += used;
    demand.wanted += std::min(1.0, used + static_cast<double>(times->wait) / ns);
  }
  return demand;
}

std::span<std::byte> GuestCore::span() noexcept {
  GatePass pass(gate_);
  if (!pass || host_->in_child()) return {};
  return {memory_->base(), options_.memory};
}

Result<void> GuestCore::manage(const std::string& reason) {
  if (memory_->adopted()) return {};
  Result<void> r;
  {
    const AdoptAtEnd adopt(*memory_, false);
    r = start_managing(reason);
  }
  // Not before: until it is adopted the guest counts as native.
  host_->watch_again();
  return r;
}

Result<void> GuestCore::start_managing(const std::string& reason) {
  if (memory_->managed()) return {};
  {
    base::MutexLock lock(memory_->control);
    if (memory_->managed()) return {};
    if (auto r = host_->manageable("managing guest \"" + options_.name + "\""); !r) return r;
    if (auto r = memory_->start_managing(); !r) return r;
  }
  if (options_.large_pages) host_->zeros_wanted();
  host_->emit(EventKind::guest_managed, options_.name, options_.memory, "userfaultfd", reason);
  return {};
}

}  // namespace vmm
