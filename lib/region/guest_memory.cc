#include "region/guest_memory.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "region/isolator.h"

namespace vmm::region {
namespace {

constexpr const char* kGuestName = "vmm-guest";

int try_node(void* start, std::uint64_t bytes, const GuestMemoryOptions& o, int node) noexcept {
  const int e = os::bind_to_node(start, bytes, node, o.bind ? os::NodePolicy::bound : os::NodePolicy::preferred);
  // Without NUMA in the kernel, or with mbind forbidden (container profiles), there is no placement to lose.
  return !o.bind && (e == ENOSYS || e == EPERM) ? 0 : e;
}

Result<void> set_node(void* start, std::uint64_t bytes, const GuestMemoryOptions& o, int node) {
  const int e = try_node(start, bytes, o, node);
  if (e == 0) return {};
  return base::fail_errno(e, "mbind of guest \"" + o.name + "\" to node " + std::to_string(node),
                          "choose a node that has memory, see probe()");
}

Result<void> set_node(const os::Mapping& m, const GuestMemoryOptions& o, int node) {
  return set_node(m.data(), m.size(), o, node);
}

int keep_private(const os::Mapping& m, const GuestMemoryOptions& o) noexcept {
  const int e = os::keep_from_children(m.data(), m.size());
  return e != 0 || o.core_dump ? e : os::exclude_from_core_dumps(m.data(), m.size());
}

// All flags and the policy before the first touch: otherwise pieces split off later never merge again.
Result<void> prepare(const os::Mapping& m, const GuestMemoryOptions& o, bool large_pages, const char* what) {
  if (const int e = keep_private(m, o))
    return base::fail_errno(e, "madvise(MADV_DONTFORK, MADV_DONTDUMP) of guest \"" + o.name + "\"",
                            "check the kernel's limits");
  // A kernel without huge pages refuses the advice, and then there is nothing to advise.
  os::advise_huge_pages(m.data(), m.size(), large_pages);
  if (auto r = set_node(m, o, o.node); !r) return r;
  os::name_range(m.data(), m.size(), what);
  return {};
}

}  // namespace

GuestMemory::GuestMemory(const GuestMemoryOptions& options, Credit& credit, const os::Pagemap& pagemap)
    : read_window(options.read_window), options_(options), home_(options.node), credit_(credit), pagemap_(pagemap) {}

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(const GuestMemoryOptions& options, Credit& credit,
                                                         const os::Pagemap& pagemap) {
  std::unique_ptr<GuestMemory> g(new GuestMemory(options, credit, pagemap));
  const auto bytes = options.pages * kPageSize;
  auto memory = os::Mapping::guarded(bytes);
  if (!memory) return tl::unexpected(memory.error());
  g->memory_ = std::move(*memory);
  auto staging = os::Mapping::guarded(bytes);
  if (!staging) return tl::unexpected(staging.error());
  g->staging_ = std::move(*staging);
  auto table = PageTable::create(options.pages);
  if (!table) return tl::unexpected(table.error());
  g->table = std::move(*table);
  auto heat = os::Mapping::anonymous((options.pages + kRunPages - 1) / kRunPages);
  if (!heat) return tl::unexpected(heat.error());
  g->heat_memory_ = std::move(*heat);
  static_assert(sizeof(std::atomic<std::uint8_t>) == 1);
  g->heat_ = reinterpret_cast<std::atomic<std::uint8_t>*>(g->heat_memory_.data());
  if (auto r = prepare(g->memory_, options, options.large_pages, kGuestName); !r) return tl::unexpected(r.error());
  // Pages that are copied into staging touch it: a huge page there would hold 512 where one was charged.
  const bool large_staging = options.large_pages && options.move;
  if (auto r = prepare(g->staging_, options, large_staging, "vmm-staging"); !r) return tl::unexpected(r.error());
  // mlockall(MCL_FUTURE) has filled it: what is staged would be counted twice, and pages could not move there.
  os::drop_pages(g->staging_.data(), g->staging_.size());
  if (options.userfaultfd) {
    auto uffd = os::Userfaultfd::open(options.features);
    if (!uffd) return tl::unexpected(uffd.error());
    g->uffd_ = std::move(*uffd);
    if (options.move) {
      os::UffdFeatures staging_features;
      staging_features.move = true;
      auto staging_uffd = os::Userfaultfd::open(staging_features);
      if (!staging_uffd) return tl::unexpected(staging_uffd.error());
      g->staging_uffd_ = std::move(*staging_uffd);
    }
  }
  g->isolator_ = make_isolator(options.move);
  g->arbitration.limit = options.limit_pages;
  // A region that had a page before it is split merges again; one that had none does not.
  *const_cast<volatile std::byte*>(g->memory_.data()) = std::byte{0};
  // All of the huge page that this may have been: one page of it would leave 511 in memory, and it split.
  os::drop_pages(g->memory_.data(), std::min(bytes, kHugePageSize));
  return g;
}

Result<void> GuestMemory::set_home(int node) {
  // First: who puts a mapping into its memory just then looks whether it is the one that it has set.
  const int before = home_.exchange(node, std::memory_order_acq_rel);
  auto r = set_node_of_own(node);
  if (r) r = set_node(staging_, options_, node);
  if (r) return r;
  // As it was, as far as the kernel lets it be.
  home_.store(before, std::memory_order_release);
  static_cast<void>(set_node_of_own(before));
  return r;
}

// The policy of the memory that is the guest's own. A policy for frames would be that of their file, which others show,
// too; where one is put in just now, new frames of that part of the file come from the guest's node.
Result<void> GuestMemory::set_node_of_own(int node) {
  if (counters.shared.load(std::memory_order_relaxed) == 0) return set_node(memory_, options_, node);
  const auto is_shared = [&](std::uint64_t page) { return table.load(page).state() == PageState::shared; };
  for (std::uint64_t page = 0; page < pages();) {
    auto end = page;
    while (end < pages() && !is_shared(end)) ++end;
    if (end > page)
      if (auto r = set_node(at(page), (end - page) * kPageSize, options_, node); !r) return r;
    for (page = end; page < pages() && is_shared(page);) ++page;
  }
  return {};
}

int GuestMemory::dress(const os::Mapping& piece, int home) const noexcept {
  if (const int e = keep_private(piece, options_)) return e;
  os::advise_huge_pages(piece.data(), piece.size(), options_.large_pages);
  const int e = try_node(piece.data(), piece.size(), options_, home);
  if (e != 0 && options_.bind) return e;
  os::name_range(piece.data(), piece.size(), kGuestName);
  return 0;
}

int GuestMemory::follow_home(std::uint64_t page, std::uint64_t count) noexcept {
  return try_node(at(page), count * kPageSize, options_, home());
}

void GuestMemory::shut() noexcept {
  base::MutexLock lock(control);
  if (shut_.exchange(true, std::memory_order_acq_rel) || uffd_.fd() < 0 || !managed()) return;
  // Inaccessible first: a missing page would read as zero once the userfaultfd is gone. Waking also reaches who
  // waits for a page of a range that is no longer mapped.
  auto* const start = memory_.data();
  const auto bytes = memory_.size();
  if (os::make_inaccessible(start, bytes) != 0) memory_ = os::Mapping();
  // Nobody else will wake them: a refusal that passes is waited for.
  for (int tries = 0; uffd_.wake(start, bytes) != 0 && tries < 1000; ++tries) std::this_thread::yield();
}

GuestMemory::~GuestMemory() {
  shut();
  set_pool(nullptr);
  credit_.release(counters.resident.load(std::memory_order_relaxed));
  // Nobody shows its frames any more: only then they may be another's.
  memory_ = os::Mapping();
  frames.reset();
}

std::uint64_t GuestMemory::metadata_bytes() const noexcept {
  return table.bytes() + heat_memory_.size();
}

std::uint64_t GuestMemory::page_table_bytes() const noexcept {
  // A page of 512 entries for every 2 MiB that has ever held a page; the memory and its staging area.
  const auto tables = (pages() * kPageSize + kHugePageSize - 1) / kHugePageSize;
  return 2 * tables * kPageSize;
}

void GuestMemory::wake(std::uint64_t page, std::uint64_t count) noexcept {
  if (uffd_.wake(at(page), count * kPageSize) == 0) return;
  wake_failed_.store(true);
  // Rings in any case.
  table.announce_wait();
  table.released();
}

void GuestMemory::refuse_at(std::byte* place) noexcept {
  int error = uffd_.poison(place, kPageSize);
  if (error == EEXIST) {
    // A write-protect marker stands in its place; or poison does already, which this does not touch.
    uffd_.write_protect(place, kPageSize, false);
    error = uffd_.poison(place, kPageSize);
  }
  // EAGAIN: a mapping is being moved, and the fault thread is to read of it first. The place stays empty until the next
  // touch.
  if (error != 0 && error != EEXIST && error != EAGAIN) os::make_inaccessible(place, kPageSize);
}

Marker GuestMemory::remove_marker(std::uint64_t page) noexcept {
  std::uint8_t bits = 0;
  if (pagemap_.bits_from_pagemap(at(page), 1, &bits) != 0) return Marker::unknown;
  if (bits != os::kMarker) return Marker::none;
  return uffd_.write_protect(at(page), kPageSize, false) == 0 ? Marker::removed : Marker::stays;
}

bool GuestMemory::try_charge(std::uint64_t pages) noexcept {
  if (over_limit(pages) || !credit_.try_charge(pages)) return false;
  count_resident(pages);
  return true;
}

void GuestMemory::uncharge(std::uint64_t pages) noexcept {
  drop(counters.resident, pages);
  if (auto* pool = arbitration.pool.load(std::memory_order_acquire)) pool->release(pages);
  credit_.release(pages);
}

void GuestMemory::charge_present(std::uint64_t pages) noexcept {
  count_resident(pages);
  credit_.charge(pages);
}

void GuestMemory::count_resident(std::uint64_t pages) noexcept {
  bump(counters.resident, pages);
  if (auto* pool = arbitration.pool.load(std::memory_order_acquire)) pool->charge(pages);
}

void GuestMemory::set_pool(PoolCharge* pool) noexcept {
  auto* const old = arbitration.pool.exchange(pool, std::memory_order_acq_rel);
  const auto pages = counters.resident.load(std::memory_order_relaxed);
  if (old != nullptr) old->release(pages);
  if (pool != nullptr) pool->charge(pages);
}

Result<void> GuestMemory::manage() {
  auto r = start_managing();
  if (r) adopt();
  return r;
}

Result<void> GuestMemory::start_managing() {
  if (managed()) return {};
  if (is_shut()) return base::fail(Errc::inert_handle, "managing guest \"" + name() + "\"", "the guest has ended");
  if (uffd_.fd() < 0)
    return base::fail(Errc::not_supported, "managing guest \"" + name() + "\"", "userfaultfd is needed, see probe()");
  const auto range_text = [&] {
    char text[64];
    std::snprintf(text, sizeof text, "[%p, %p)", static_cast<void*>(base()), static_cast<void*>(at(pages())));
    return std::string(text);
  };
  if (options_.move)
    if (const int e = staging_uffd_.register_range(staging_.data(), staging_.size(), false))
      return base::fail_errno(e, "UFFDIO_REGISTER of the staging area of guest \"" + name() + "\"", "see probe()");
  if (const int e = uffd_.register_range(memory_.data(), memory_.size(), true)) {
    if (options_.move) staging_uffd_.unregister_range(staging_.data(), staging_.size());
    return base::fail_errno(e, "UFFDIO_REGISTER of guest \"" + name() + "\" " + range_text(),
                            e == EBUSY ? "another userfaultfd is registered on this range: remove it" : "see probe()");
  }
  managed_.store(true, std::memory_order_release);
  return {};
}

void GuestMemory::adopt(bool estimated) noexcept {
  if (adopted() || !managed()) return;
  // One slice: what PAGEMAP_SCAN may look at without keeping mmap waiting.
  constexpr std::uint64_t kSlice = 512;
  std::array<std::uint8_t, kSlice> bits;
  for (std::uint64_t first = 0; first < pages(); first += kSlice) {
    const auto count = std::min(kSlice, pages() - first);
    // Unknown residency is taken for resident: the charge is too high then, never too low.
    if (pagemap_.bits(at(first), count, bits.data()) != 0) std::memset(bits.data(), os::kPresent, count);
    const auto here = [](std::uint8_t b) { return (b & (os::kPresent | os::kSwapped)) != 0; };
    // Charged before the words say so: a page may be taken, and given up, as soon as they do.
    const auto charged = static_cast<std::uint64_t>(
        std::count_if(bits.begin(), bits.begin() + static_cast<std::ptrdiff_t>(count), here));
    charge_present(charged);
    std::uint64_t adopted = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (!here(bits[i])) continue;
      const auto word = table.lock(first + i);
      bool adopt_it = word.state() == PageState::native;
      if (word.state() == PageState::empty) {
        // Discarded meanwhile - or while the guest was native, and then touched again.
        std::uint8_t again = 0;
        adopt_it = pagemap_.bits(at(first + i), 1, &again) == 0 && again != 0;
      }
      table.unlock(first + i, adopt_it ? word.with_state(PageState::resident) : word);
      adopted += adopt_it ? 1 : 0;
    }
    table.released();
    bump(counters.put_back, adopted);
    if (estimated) credit_.lower_native(adopted);
    uncharge(charged - adopted);
  }
  adopted_.store(true, std::memory_order_release);
}

bool GuestMemory::unmanage() {
  if (!managed()) return true;
  if (!adopted()) return false;
  if (counters.staging.load() != 0 || counters.swapped.load() != 0 || counters.lost.load() != 0) return false;
  if (counters.ballooned.load() != 0 || counters.shared.load() != 0) return false;
  // Waiters are woken by this; what is missing is empty, so the kernel's zeros are the right bytes.
  if (uffd_.unregister_range(memory_.data(), memory_.size()) != 0) return false;
  if (options_.move) staging_uffd_.unregister_range(staging_.data(), staging_.size());
  managed_.store(false, std::memory_order_release);
  adopted_.store(false, std::memory_order_release);
  std::uint64_t charged = 0;
  for (std::uint64_t page = 0; page < pages(); ++page) {
    if (table.load(page).state() == PageState::native) continue;
    const auto word = table.lock(page);
    charged += word.state() == PageState::resident ? 1 : 0;
    table.unlock(page, word.with_state(PageState::native));
  }
  table.released();
  uncharge(charged);
  return true;
}

}  // namespace vmm::region
