#include "stress/workload.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <shared_mutex>
#include <utility>

#include "stress/peek.h"
#include "stress/report.h"

namespace vmm::stress {
namespace {

struct Weight {
  Op op;
  unsigned weight;
};
// Of 10,000.
constexpr Weight kWeights[] = {
    {Op::read, 2360},      {Op::glance, 1500},    {Op::write, 1500}, {Op::write_zeros, 250}, {Op::patch, 900},
    {Op::count, 1300},     {Op::bulk_write, 150}, {Op::scan, 300},   {Op::discard, 350},     {Op::pin, 200},
    {Op::unpin, 200},      {Op::reclaim, 50},     {Op::restore, 10}, {Op::prefetch, 300},    {Op::device_in, 150},
    {Op::device_out, 150}, {Op::seat, 50},        {Op::create, 60},  {Op::destroy, 20},      {Op::stats, 80},
    {Op::native, 70},      {Op::configure, 10},  {Op::rehome, 40},
};
constexpr std::uint64_t kHotPages = 48;  // neighbours on which threads meet
constexpr std::size_t kMostHeldPins = 3;

}  // namespace

Result<std::unique_ptr<Workload>> Workload::create(World& world, unsigned thread) {
  auto scratch = ScratchFile::create(world.options().swap_directory);
  if (!scratch) return tl::unexpected(scratch.error());
  return std::unique_ptr<Workload>(new Workload(world, thread, std::move(*scratch)));
}

Workload::Workload(World& world, unsigned thread, ScratchFile scratch)
    : world_(world),
      thread_(thread),
      random_(mix(world.options().seed * 1000003 + thread)),
      scratch_(std::move(scratch)),
      buffer_memory_(new std::byte[(ScratchFile::kPages + 1) * kPageSize]) {
  const auto raw = reinterpret_cast<std::uintptr_t>(buffer_memory_.get());
  buffer_ = buffer_memory_.get() + (kPageSize - raw % kPageSize) % kPageSize;
}

Workload::Progress Workload::progress() const noexcept {
  return {number_.load(std::memory_order_relaxed), op_.load(std::memory_order_relaxed),
          address_.load(std::memory_order_relaxed)};
}

void Workload::at(const Tenant& tenant, std::uint64_t page) noexcept {
  address_.store(reinterpret_cast<std::uintptr_t>(tenant.at(page)), std::memory_order_relaxed);
}

void Workload::run(const std::atomic<bool>& stop) {
  while (!stop.load(std::memory_order_relaxed)) {
    const auto op = choose();
    op_.store(op, std::memory_order_relaxed);
    number_.fetch_add(1, std::memory_order_relaxed);
    const auto begin = std::chrono::steady_clock::now();
    auto& place = *world_.places()[random_.below(world_.places().size())];
    if (op == Op::create || op == Op::destroy) {
      replace(place, op);
    } else if (op == Op::unpin) {
      unpin();
    } else {
      std::shared_lock lock(place.mutex);
      if (place.tenant) on_tenant(place, *place.tenant, op);
    }
    address_.store(0, std::memory_order_relaxed);
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - begin;
    auto& done = done_[static_cast<unsigned>(op)];
    ++done.count;
    done.total += took;
    done.longest = std::max(done.longest, took);
  }
  while (!pins_.empty()) unpin();
  if (seat_) world_.leave_seat(std::move(seat_));
  op_.store(Op::none, std::memory_order_relaxed);
}

Op Workload::choose() noexcept {
  auto ticket = random_.below(10000);
  for (const auto& w : kWeights) {
    if (ticket < w.weight) return w.op;
    ticket -= w.weight;
  }
  return Op::read;
}

void Workload::on_tenant(Place& place, Tenant& tenant, Op op) {
  switch (op) {
    case Op::bulk_write:
    case Op::scan: return bulk(tenant, op);
    case Op::discard: return discard(tenant);
    case Op::pin: return pin(place, tenant);
    case Op::device_in: return device_in(tenant);
    case Op::device_out: return device_out(tenant);
    case Op::reclaim: return reclaim(tenant);
    case Op::seat: return seat(tenant);
    case Op::native: return go_native(place, tenant);
    case Op::configure: return configure(tenant);
    case Op::rehome: return rehome(tenant);
    case Op::restore:
      if (auto r = tenant.guest().restore(); !r) report_failure(r.error().message());
      return;
    case Op::prefetch: {
      const auto range = any_range(tenant, 1024);
      tenant.log(me(op), range.first, range.pages);
      if (auto r = tenant.guest().prefetch(range.first * kPageSize, range.pages * kPageSize); !r)
        report_failure(r.error().message());
      return;
    }
    case Op::stats: {
      const auto stats = *tenant.guest().stats();
      if (stats.memory != tenant.pages() * kPageSize || stats.lost != 0 || stats.swap_errors != 0)
        report_failure("stats of guest \"" + tenant.name() + "\": memory " + std::to_string(stats.memory) + ", lost " +
                       std::to_string(stats.lost) + ", swap errors " + std::to_string(stats.swap_errors));
      return;
    }
    default: return on_page(tenant, op);
  }
}

void Workload::on_page(Tenant& tenant, Op op) {
  const auto page = any_page(tenant);
  at(tenant, page);
  if (op == Op::glance) return tenant.glance(me(op), page);
  if (op == Op::read || op == Op::count) {
    SharedPages lock(tenant, page, 1);
    return op == Op::read ? tenant.verify(me(op), page) : tenant.count(me(op), page);
  }
  ExclusivePages lock(tenant, page, 1);
  // Half of the changes begin with a look: the other half finds pages that are not there by a write.
  if (random_.below(2) == 0) tenant.verify(me(op), page);
  if (op == Op::patch) return tenant.patch(me(op), page);
  tenant.write(me(op), page, op == Op::write_zeros ? Kind::zero : any_kind());
}

void Workload::bulk(Tenant& tenant, Op op) {
  auto range = any_range(tenant, 512);
  if (range.pages < 64) range.first -= std::min(range.first, 64 - range.pages);
  const auto end = std::min(std::max(range.first + range.pages, range.first + 64), tenant.pages());
  for (auto page = range.first; page < end; ++page) {
    at(tenant, page);
    if (op == Op::scan) {
      SharedPages lock(tenant, page, 1);
      tenant.verify(me(op), page);
    } else {
      ExclusivePages lock(tenant, page, 1);
      tenant.write(me(op), page, any_kind());
    }
  }
}

void Workload::discard(Tenant& tenant) {
  // Mostly a few pages, at times several runs or huge pages.
  const auto range = any_range(tenant, random_.below(50) == 0 ? 1100 : 16);
  ExclusivePages lock(tenant, range.first, range.pages);
  at(tenant, range.first);
  tenant.log(me(Op::discard), range.first, range.pages);
  auto done = tenant.guest().discard(range.first * kPageSize, range.pages * kPageSize);
  if (done) {
    for (auto page = range.first; page < range.first + range.pages; ++page) tenant.set_zero(page);
  } else if (done.error().code == Errc::pages_pinned) {
    ++refused_;  // and nothing was discarded
  } else {
    report_failure(done.error().message());
  }
  // Zeros, or all as it was.
  if (random_.below(2) == 0) tenant.verify(me(Op::discard), range.first + random_.below(range.pages));
}

void Workload::pin(Place& place, Tenant& tenant) {
  if (pins_.size() == kMostHeldPins) return;
  const auto range = any_range(tenant, 64);
  at(tenant, range.first);
  tenant.log(me(Op::pin), range.first, range.pages);
  auto pin = tenant.guest().pin(range.first * kPageSize, range.pages * kPageSize);
  if (pin) {
    pins_.push_back({tenant.id(), &place, range.first, range.pages, std::move(*pin)});
  } else if (pin.error().code == Errc::pin_limit) {
    ++refused_;
  } else {
    report_failure(pin.error().message());
  }
}

void Workload::unpin() {
  if (pins_.empty()) return;
  std::swap(pins_[random_.below(pins_.size())], pins_.back());
  auto held = std::move(pins_.back());
  pins_.pop_back();
  std::shared_lock lock(held.place->mutex);
  auto* tenant = held.place->tenant.get();
  if (tenant == nullptr || tenant->id() != held.tenant) return;  // the guest has ended before its pin
  at(*tenant, held.first);
  tenant->log(me(Op::unpin), held.first, held.pages);
  // All that time the pages have been where they are: the kernel must have every one of them. (For an instant it
  // shows a page as swapped while it splits a huge page or moves pages to make one.)
  for (auto page = held.first; page < held.first + held.pages; ++page) {
    std::uint8_t bits = 0;
    const auto& memory = memory_of(tenant->guest());
    if (memory.pagemap().bits_from_pagemap(memory.at(page), 1, &bits) == 0 &&
        (bits & (os::kPresent | os::kSwapped)) == 0)
      report_failure("a pinned page is not there: " + describe_page(*tenant, page));
  }
  held.pin.release();
}

void Workload::device_in(Tenant& tenant) {
  const auto range = any_range(tenant, ScratchFile::kPages);
  const auto bytes = range.pages * kPageSize;
  ExclusivePages lock(tenant, range.first, range.pages);
  at(tenant, range.first);
  tenant.log(me(Op::device_in), range.first, range.pages);
  const bool direct = scratch_.has_direct() && random_.below(2) == 0;
  // Without UFFDIO_MOVE a device must be announced, and where pages are shared; else the kernel does not move what a
  // device uses.
  Pin pin;
  if (direct &&
      (world_.options().isolation != Isolation::move || world_.options().share || random_.below(2) == 0)) {
    auto pinned = tenant.guest().pin(range.first * kPageSize, bytes);
    if (!pinned) {
      if (pinned.error().code != Errc::pin_limit) report_failure(pinned.error().message());
      ++refused_;
      return;
    }
    pin = std::move(*pinned);
  }
  for (std::uint64_t i = 0; i < range.pages; ++i) {
    const auto image = tenant.next_image(range.first + i, any_kind());
    std::memcpy(buffer_ + i * kPageSize, image.data(), kPageSize);
  }
  if (!scratch_.write_from(buffer_, bytes, direct) || !scratch_.read_into(tenant.at(range.first), bytes, direct))
    report_failure("a read of a file into guest \"" + tenant.name() + "\" failed: " + std::strerror(errno));
}

void Workload::device_out(Tenant& tenant) {
  const auto range = any_range(tenant, ScratchFile::kPages);
  const auto bytes = range.pages * kPageSize;
  SharedPages lock(tenant, range.first, range.pages);
  at(tenant, range.first);
  tenant.log(me(Op::device_out), range.first, range.pages);
  const bool direct = scratch_.has_direct() && random_.below(2) == 0;
  std::vector<std::array<std::uint32_t, kMostThreads>> before;
  for (std::uint64_t i = 0; i < range.pages; ++i) before.push_back(tenant.counters(range.first + i));
  if (!scratch_.write_from(tenant.at(range.first), bytes, direct) || !scratch_.read_into(buffer_, bytes, direct))
    report_failure("a write of guest \"" + tenant.name() + "\" to a file failed: " + std::strerror(errno));
  for (std::uint64_t i = 0; i < range.pages; ++i) {
    PageImage image;
    std::memcpy(image.data(), buffer_ + i * kPageSize, kPageSize);
    tenant.verify_image(me(Op::device_out), range.first + i, image, before[i]);
  }
}

void Workload::reclaim(Tenant& tenant) {
  const auto most = random_.below(8) == 0 ? tenant.pages() : 512;
  if (auto r = tenant.guest().reclaim((1 + random_.below(most)) * kPageSize); !r) report_failure(r.error().message());
}

// Whatever is changed while everything goes on; the host refuses what it cannot promise.
void Workload::configure(Tenant& tenant) {
  GuestChange change;
  const auto some = [&] { return random_.below(tenant.pages() / 4 + 1) * kPageSize; };
  if (random_.below(2) == 0) change.shares = Shares::custom(1 + random_.below(5000));
  if (random_.below(3) == 0) change.idle_tax = static_cast<double>(random_.below(100)) / 100;
  if (random_.below(3) == 0) change.balloon_max = some();
  if (random_.below(4) == 0) change.pool = random_.below(2) == 0 ? "/" : kPools[random_.below(std::size(kPools))];
  // A reservation that has come must not keep others from everything, nor a limit this one.
  if (random_.below(4) == 0) change.reservation = some() / 4 / kPageSize * kPageSize;
  if (random_.below(4) == 0) change.limit = random_.below(2) == 0 ? 0 : (tenant.pages() / 2 + 1024) * kPageSize;
  auto r = tenant.guest().configure(change);
  if (!r && r.error().code != Errc::admission_refused && r.error().code.value() != EINVAL)
    report_failure(r.error().message());
  if (!r) ++refused_;
  if (random_.below(20) != 0) return;
  HostChange host;
  host.idle_tax = static_cast<double>(random_.below(100)) / 100;
  host.memory_ladder = random_.below(2) == 0 ? MemoryLadder::classic : MemoryLadder::sliding;
  host.balloon_max_percent = static_cast<std::uint32_t>(random_.below(96));
  if (auto h = world_.host().configure(host); !h && h.error().code != Errc::admission_refused)
    report_failure(h.error().message());
}

void Workload::rehome(Tenant& tenant) {
  const auto nodes = world_.host().stats()->nodes;
  if (auto r = tenant.guest().rehome(nodes[random_.below(nodes.size())]); !r) report_failure(r.error().message());
}

void Workload::seat(Tenant& tenant) {
  if (seat_) return seat_.release();
  auto seat = tenant.guest().attach_current_thread(random_.below(2) == 0 ? Attach::bind : Attach::measure_only);
  if (!seat) report_failure(seat.error().message());
  seat_ = std::move(*seat);
}

// The scheduler lets a guest run natively again after a minute of plenty. That never comes here, so it is done to
// guests that are small enough not to take much before they are managed again.
void Workload::go_native(const Place& place, Tenant& tenant) {
  if (place.long_lived) return;
  const auto core = core_of(tenant.guest());
  auto& memory = core->memory();
  if (!memory.managed() || memory.arbitration.limit != 0 || memory.counters.pinned != 0) return;
  if (auto r = tenant.guest().restore(); !r) report_failure(r.error().message());
  if (!core->node().worker->unmanage(memory)) return;
  ++went_native_;
  core->host().watch_again();
}

void Workload::replace(Place& place, Op op) {
  if (place.long_lived) return;
  std::unique_lock lock(place.mutex, std::try_to_lock);
  if (!lock || (op == Op::create) == (place.tenant != nullptr)) return;
  if (op == Op::create) return world_.create(place, random_);
  if (random_.below(4) == 0)
    for (std::uint64_t page = 0; page < place.tenant->pages(); ++page) {
      at(*place.tenant, page);
      const SharedPages pages(*place.tenant, page, 1);  // its balloon may be giving it up
      place.tenant->compare(me(Op::compare), page);
    }
  place.tenant.reset();
}

std::uint64_t Workload::any_page(Tenant& tenant) noexcept {
  const auto pages = tenant.pages();
  const auto way = random_.below(100);
  if (way < 35) {
    if (random_.below(2000) == 0) tenant.set_hot(random_.below(pages));
    return std::min(tenant.hot() + random_.below(kHotPages), pages - 1);
  }
  if (way < 55) return ++cursor_ % pages;
  if (random_.below(5000) == 0) cursor_ = random_.next() % pages;
  return random_.below(pages);
}

Workload::Range Workload::any_range(Tenant& tenant, std::uint64_t most) noexcept {
  const auto first = any_page(tenant);
  return {first, std::min(1 + random_.below(most), tenant.pages() - first)};
}

Kind Workload::any_kind() noexcept {
  const auto way = random_.below(10);
  if (world_.options().share && random_.below(2) == 0) return Kind::common;
  return way < 6 ? Kind::random : (way < 8 ? Kind::compressible : (way < 9 ? Kind::sparse : Kind::zero));
}

}  // namespace vmm::stress
