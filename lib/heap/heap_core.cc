#include "heap/heap_core.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <new>
#include <utility>

#include "base/error.h"
#include "os/fork_count.h"
#include "vmm/units.h"

namespace vmm {
namespace {

// The heap whose on_pressure this thread is in.
thread_local const HeapCore* pressed = nullptr;

// What is regained at once for a small request: one would not want to pin page by page.
constexpr std::uint64_t kRegainPages = 64;

constexpr int flags_for(unsigned arena, std::size_t alignment) noexcept {
  return static_cast<int>(MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE | MALLOCX_LG_ALIGN(std::countr_zero(alignment)));
}

tl::unexpected<Error> no_memory(const char* what) {
  return base::fail_errno(ENOMEM, what, "the heap's tables are ordinary memory of the process");
}

}  // namespace

Result<std::shared_ptr<HeapCore>> HeapCore::create(Guest& guest, const HeapOptions& options) try {
  if (guest.memory().empty())
    return base::fail(Errc::inert_handle, "Heap::create", "the guest's handle is empty, or its host has ended");
  // jemalloc's locks are as another thread left them at the fork. Forks before the first heap do no harm.
  static const std::uint64_t first_forks = os::fork_count();
  if (os::fork_count() != first_forks)
    return base::fail(Errc::forked_child, "Heap::create", "a parent had heaps: call exec first");
  if (const auto cleared = guest.discard(0, guest.memory().size()); !cleared) return tl::unexpected(cleared.error());
  auto core = std::make_shared<HeapCore>(guest, options);
  if (const int error = heap::create_arena(core->extents_.hooks(), core->arena_); error != 0)
    return base::fail_errno(error == EAGAIN ? ENOMEM : error, "Heap::create: a jemalloc arena",
                            "there may be some 4,000 heaps, and their tables are ordinary memory of the process");
  core->has_arena_ = true;
  return core;
} catch (const std::bad_alloc&) {
  return no_memory("Heap::create");
}

HeapCore::HeapCore(Guest& guest, const HeapOptions& options)
    : guest_(guest), born_(os::fork_count()), extents_(guest), on_pressure_(options.on_pressure) {}

HeapCore::~HeapCore() {
  if (has_arena_) heap::destroy_arena(arena_);
}

bool HeapCore::in_child() const noexcept { return os::fork_count() != born_; }

void* HeapCore::allocate_bytes(std::size_t bytes, std::size_t alignment, Fill fill) noexcept {
  if (!std::has_single_bit(alignment) || in_child()) return nullptr;
  bytes = std::max<std::size_t>(bytes, 1);
  const int flags = flags_for(arena_, alignment) | (fill == Fill::zeros ? MALLOCX_ZERO : 0);
  void* const memory = vmm_je_mallocx(bytes, flags);
  return memory != nullptr ? memory : allocate_when_full(bytes, flags);
}

void* HeapCore::allocate_when_full(std::size_t bytes, int flags) noexcept {
  return allocate_after_purge(bytes, [&] { return vmm_je_mallocx(bytes, flags); });
}

template <class Allocate>
void* HeapCore::allocate_after_purge(std::size_t bytes, Allocate&& allocate) noexcept {
  if (bytes > extents_.pages() * kPageSize) return nullptr;
  // What jemalloc keeps may be in pieces that fit together with others, or were freed by another thread's purge.
  heap::purge_arena(arena_);
  void* memory = allocate();
  // Size classes are up to a quarter larger than what is asked for.
  const std::uint64_t pages = std::max(kRegainPages, (bytes + bytes / 4) / kPageSize + 1);
  while (memory == nullptr && regain(pages)) memory = allocate();
  return memory;
}

bool HeapCore::resize(void* memory, std::size_t bytes) noexcept {
  if (in_child()) return false;
  bytes = std::max<std::size_t>(bytes, 1);
  return vmm_je_xallocx(memory, bytes, 0, MALLOCX_TCACHE_NONE) >= bytes;
}

void* HeapCore::allocate_pages(std::size_t bytes, std::size_t alignment) noexcept {
  if (bytes == 0 || in_child()) return nullptr;
  const auto allocate = [&]() noexcept {
    bool zero = true;
    return extents_.allocate(nullptr, bytes, alignment, zero);
  };
  void* const memory = allocate();
  return memory != nullptr ? memory : allocate_after_purge(bytes, allocate);
}

bool HeapCore::allocate_pages_at(void* memory, std::size_t bytes) noexcept {
  bool zero = true;
  return bytes != 0 && !in_child() && extents_.allocate(memory, bytes, kPageSize, zero) != nullptr;
}

bool HeapCore::free_pages(void* memory, std::size_t bytes) noexcept {
  return !in_child() && extents_.release(memory, bytes);
}

// Makes pages usable that were handed over to the host and, as far as the heap can tell, not dealt with yet. The host
// may still be about to drop them, but not while they are pinned: it refuses pinned pages.
bool HeapCore::regain(std::uint64_t pages) noexcept {
  const auto span = extents_.take_over(pages);
  if (!span) return false;
  try {
    auto pin = guest_.pin(span->first * kPageSize, span->count * kPageSize);
    if (pin) {
      {
        base::MutexLock lock(pins_mutex_);
        pins_.push_back(std::move(*pin));
      }
      return extents_.release(*span);
    }
  } catch (const std::bad_alloc&) {
    // As a pin that is refused.
  }
  (void)extents_.hand_over(*span);
  return false;
}

void HeapCore::free(void* memory) noexcept {
  if (memory != nullptr && !in_child()) vmm_je_dallocx(memory, MALLOCX_TCACHE_NONE);
}

std::size_t HeapCore::usable_size(const void* memory) const noexcept {
  return memory == nullptr ? 0 : vmm_je_sallocx(memory, 0);
}

void* HeapCore::do_allocate(std::size_t bytes, std::size_t alignment) {
  if (void* const memory = allocate_bytes(bytes, alignment)) return memory;
  throw std::bad_alloc();
}

void HeapCore::do_deallocate(void* memory, std::size_t, std::size_t) { free(memory); }

HeapStats HeapCore::stats() const {
  HeapStats s;
  s.memory = extents_.pages() * kPageSize;
  s.pressure_calls = pressure_calls_.load(std::memory_order_relaxed);
  s.pressure_failures = pressure_failures_.load(std::memory_order_relaxed);
  if (in_child()) return s;
  const auto figures = heap::arena_figures(arena_);
  s.allocated = figures.allocated;
  s.active = std::min(figures.active, s.memory);
  s.free = s.memory - s.active;
  s.given = std::min(extents_.given_pages() * kPageSize, s.free);
  return s;
}

// A new call: the host has dealt with what the last one gave.
void HeapCore::settle() noexcept {
  std::vector<Pin> done;
  {
    base::MutexLock lock(pins_mutex_);
    done.swap(pins_);
  }
  extents_.settle();
}

std::vector<BalloonRange> HeapCore::inflate(std::uint64_t bytes) {
  const host::GatePass pass(gate_);
  if (!pass || in_child()) return {};
  settle();
  const std::uint64_t wanted = std::min(bytes / kPageSize + (bytes % kPageSize != 0), extents_.pages());
  std::vector<heap::PageSpan> spans;
  std::uint64_t given = extents_.give(wanted, spans);
  if (given < wanted) {
    heap::purge_arena(arena_);
    given += extents_.give(wanted - given, spans);
  }
  if (given < wanted && press((wanted - given) * kPageSize)) {
    if (ended_.load(std::memory_order_acquire)) return {};
    heap::purge_arena(arena_);
    extents_.give(wanted - given, spans);
  }
  std::sort(spans.begin(), spans.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<BalloonRange> ranges;
  for (const auto& span : spans) {
    const std::uint64_t offset = span.first * kPageSize;
    if (!ranges.empty() && ranges.back().offset + ranges.back().bytes == offset) {
      ranges.back().bytes += span.count * kPageSize;
    } else {
      ranges.push_back({offset, span.count * kPageSize});
    }
  }
  return ranges;
}

bool HeapCore::press(std::uint64_t bytes) noexcept {
  {
    base::MutexLock lock(pressure_mutex_);
    if (!on_pressure_) return false;
    ++pressing_;
  }
  pressure_calls_.fetch_add(1, std::memory_order_relaxed);
  const HeapCore* const outer = std::exchange(pressed, this);
  try {
    on_pressure_(bytes);
  } catch (...) {
    pressure_failures_.fetch_add(1, std::memory_order_relaxed);
  }
  pressed = outer;
  base::MutexLock lock(pressure_mutex_);
  --pressing_;
  pressure_ended_.notify_all();
  return true;
}

void HeapCore::on_pressure(std::function<void(std::uint64_t)> callback) noexcept {
  if (pressed == this) return;
  {
    base::MutexLock lock(pressure_mutex_);
    while (pressing_ > 0) pressure_ended_.wait(pressure_mutex_);
    on_pressure_.swap(callback);
  }
  // The former one ends here, outside of the lock.
}

void HeapCore::deflate(const std::vector<BalloonRange>& ranges) {
  const host::GatePass pass(gate_);
  if (!pass || in_child()) return;
  settle();
  for (const auto& range : ranges) {
    const std::uint64_t first = range.offset / kPageSize;
    if (first >= extents_.pages()) continue;
    extents_.take_back({first, std::min(range.bytes / kPageSize, extents_.pages() - first)});
  }
}

void HeapCore::end() noexcept {
  ended_.store(true, std::memory_order_release);
  gate_.close();
  if (pressed == this) return;
  gate_.wait_until_empty();
  on_pressure({});
}

}  // namespace vmm
