// ZeroPool: huge pages zeroed ahead by a worker, which a fault thread moves whole into a guest: the guest's
// first touch then costs one move instead of zeroing 2 MiB. Its pages come from the kernel and are never ones
// that a guest has used.
// Thread-safety: refill() and drain() by one worker; refill() and take() by one fault thread, at the same time. Each
// slot belongs to one side at a time by its state.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <cstdint>

#include "os/mapping.h"
#include "os/poller.h"
#include "os/userfaultfd.h"
#include "vmm/result.h"
#include "vmm/units.h"

namespace vmm::region {

class GuestMemory;
class Credit;

class ZeroPool {
 public:
  static constexpr std::size_t kSlots = 32;
  // The part of the budget that it holds at most, if that is fewer: what lies ready here nobody can use.
  static constexpr std::uint64_t kPartOfBudget = 32;

  ZeroPool() noexcept = default;
  // Errors: ENOMEM; the pool of a node prefers that node's memory.
  static Result<std::unique_ptr<ZeroPool>> create(int node, Credit& credit);
  ~ZeroPool();

  // Worker: refill() one after the other, on that processor; -1: no more. A fault thread keeps away from there.
  void set_zeroing_on(int processor) noexcept { zeroing_on_.store(processor, std::memory_order_relaxed); }
  int zeroing_on() const noexcept { return zeroing_on_.load(std::memory_order_relaxed); }
  // Pages that it holds when full, 1..kSlots.
  std::size_t slots() const noexcept { return slots_; }
  // Zeroes one huge page more, charging it: about 0.1 ms. False: the pool is full, or there is no credit for it.
  bool refill() noexcept;
  // Worker: gives all ready pages back to the kernel. Returns how many.
  std::size_t drain() noexcept;

  // Fault thread: moves a ready page to guest page `first` (a multiple of 512, 512 missing locked pages); its
  // charge goes over to the guest. Returns how many pages of zeros are in place from `first` on: 512, or fewer
  // when none is ready (0) or the kernel stopped.
  std::uint64_t take(GuestMemory& guest, std::uint64_t first) noexcept;

  // The last refill() took no longer than zeroing does: the kernel has huge pages at hand, and a fault thread may
  // refill() for itself.
  bool quick() const noexcept { return quick_.load(std::memory_order_relaxed); }

  std::size_t ready() const noexcept { return ready_.load(std::memory_order_acquire); }

  // Fault thread: `bell` is rung by the next refill(), or by tell_waiting(). False: there is a ready page by now.
  bool announce_wait(const os::Doorbell& bell) noexcept;
  // Rings for who announced that it waits, and for nobody else: a fault thread that is woken for nothing comes to where
  // the worker runs, and then stands in its way.
  void tell_waiting() noexcept;

 private:
  enum State : std::uint8_t { kEmpty, kFilling, kReady, kTaken };
  std::byte* at(std::size_t slot) const noexcept { return memory_.data() + slot * kHugePageSize; }

  os::Mapping memory_;
  Credit* credit_ = nullptr;
  std::size_t slots_ = kSlots;
  std::array<std::atomic<std::uint8_t>, kSlots> states_{};
  std::atomic<std::size_t> ready_{0};
  std::atomic<bool> quick_{false};
  std::atomic<int> zeroing_on_{-1};
  std::atomic<const os::Doorbell*> waiting_{nullptr};
};

}  // namespace vmm::region
