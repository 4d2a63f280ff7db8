#include "region/zero_pool.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "region/credit.h"
#include "region/guest_memory.h"
#include "region/move_run.h"

namespace vmm::region {
namespace {

// Zeroing takes about 0.1 ms; longer means that the kernel makes room for huge pages first, or gives small ones.
constexpr std::chrono::microseconds kQuick(400);

}  // namespace

Result<std::unique_ptr<ZeroPool>> ZeroPool::create(int node, Credit& credit) {
  auto pool = std::make_unique<ZeroPool>();
  auto memory = os::Mapping::guarded(kSlots * kHugePageSize);
  if (!memory) return tl::unexpected(memory.error());
  pool->memory_ = std::move(*memory);
  pool->credit_ = &credit;
  pool->slots_ = std::clamp<std::size_t>(credit.budget() / kPartOfBudget / kPagesPerHuge, 1, kSlots);
  os::keep_from_children(pool->memory_.data(), pool->memory_.size());
  os::exclude_from_core_dumps(pool->memory_.data(), pool->memory_.size());
  os::advise_huge_pages(pool->memory_.data(), pool->memory_.size(), true);
  os::bind_to_node(pool->memory_.data(), pool->memory_.size(), node, os::NodePolicy::preferred);
  // mlockall(MCL_FUTURE) has filled it, without credit.
  os::drop_pages(pool->memory_.data(), pool->memory_.size());
  os::name_range(pool->memory_.data(), pool->memory_.size(), "vmm-zero-pool");
  return pool;
}

ZeroPool::~ZeroPool() {
  if (credit_ != nullptr) drain();
}

bool ZeroPool::refill() noexcept {
  for (std::size_t slot = 0; slot < slots_; ++slot) {
    std::uint8_t empty = kEmpty;
    if (!states_[slot].compare_exchange_strong(empty, kFilling, std::memory_order_acq_rel)) continue;
    if (!credit_->try_charge(kPagesPerHuge)) {
      states_[slot].store(kEmpty, std::memory_order_release);
      return false;
    }
    const auto begin = std::chrono::steady_clock::now();
    // One write makes the kernel zero a huge page; if it gives small ones, the others are touched too, so that
    // the move finds no hole.
    for (std::uint64_t page = 0; page < kPagesPerHuge; ++page)
      *const_cast<volatile std::byte*>(at(slot) + page * kPageSize) = std::byte{0};
    quick_.store(std::chrono::steady_clock::now() - begin < kQuick, std::memory_order_relaxed);
    states_[slot].store(kReady, std::memory_order_release);
    ready_.fetch_add(1, std::memory_order_seq_cst);
    tell_waiting();
    return true;
  }
  return false;
}

bool ZeroPool::announce_wait(const os::Doorbell& bell) noexcept {
  waiting_.store(&bell, std::memory_order_seq_cst);
  if (ready_.load(std::memory_order_seq_cst) == 0) return true;
  waiting_.store(nullptr, std::memory_order_relaxed);
  return false;
}

void ZeroPool::tell_waiting() noexcept {
  if (const auto* bell = waiting_.exchange(nullptr, std::memory_order_seq_cst)) bell->ring();
}

std::size_t ZeroPool::drain() noexcept {
  std::size_t drained = 0;
  for (std::size_t slot = 0; slot < slots_; ++slot) {
    std::uint8_t ready = kReady;
    if (!states_[slot].compare_exchange_strong(ready, kTaken, std::memory_order_acq_rel)) continue;
    ready_.fetch_sub(1, std::memory_order_acq_rel);
    os::drop_pages(at(slot), kHugePageSize);
    states_[slot].store(kEmpty, std::memory_order_release);
    credit_->release(kPagesPerHuge);
    ++drained;
  }
  return drained;
}

std::uint64_t ZeroPool::take(GuestMemory& guest, std::uint64_t first) noexcept {
  for (std::size_t slot = 0; slot < slots_; ++slot) {
    std::uint8_t ready = kReady;
    if (!states_[slot].compare_exchange_strong(ready, kTaken, std::memory_order_acq_rel)) continue;
    ready_.fetch_sub(1, std::memory_order_acq_rel);
    const auto moved =
        move_run(guest.uffd(), guest.pagemap(), guest.at(first), at(slot), kHugePageSize).bytes / kPageSize;
    guest.count_resident(moved);
    // What did not move goes back to the kernel, never to another guest.
    if (moved < kPagesPerHuge) os::drop_pages(at(slot), kHugePageSize);
    states_[slot].store(kEmpty, std::memory_order_release);
    credit_->release(kPagesPerHuge - moved);
    return moved;
  }
  return 0;
}

}  // namespace vmm::region
