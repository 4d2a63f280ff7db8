// Notices: what fault threads and workers have to tell, in a fixed ring that the scheduler empties.
// Thread-safety: push() from any thread, fault threads included: lock-free, allocates nothing; pop() from one
// thread at a time. A full ring drops the notice and counts it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "os/poller.h"

namespace vmm::region {

struct Notice {
  enum Kind : std::uint32_t { kSwapReadFailed, kSwapWriteFailed, kSwapRecovered, kMemoryExhausted, kNotReclaimable };
  Kind kind{};
  int error = 0;            // errno, 0 = none (a checksum)
  std::uint64_t guest = 0;  // id
  std::uint64_t value = 0;  // page or bytes, by kind
};

// Bounded multi-producer queue after D. Vyukov: each cell has a sequence number.
class Notices {
 public:
  Notices() noexcept {
    for (std::uint64_t i = 0; i < kCells; ++i) cells_[i].sequence.store(i, std::memory_order_relaxed);
  }

  void push(const Notice& notice) noexcept {
    auto position = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[position % kCells];
      const auto sequence = cell.sequence.load(std::memory_order_acquire);
      if (sequence == position) {
        if (!tail_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) continue;
        cell.notice = notice;
        cell.sequence.store(position + 1, std::memory_order_release);
        if (bell_ != nullptr) bell_->ring();
        return;
      }
      if (sequence < position) {
        dropped_.fetch_add(1, std::memory_order_relaxed);
        return;
      }
      position = tail_.load(std::memory_order_relaxed);
    }
  }

  bool pop(Notice& notice) noexcept {
    Cell& cell = cells_[head_ % kCells];
    if (cell.sequence.load(std::memory_order_acquire) != head_ + 1) return false;
    notice = cell.notice;
    cell.sequence.store(head_ + kCells, std::memory_order_release);
    ++head_;
    return true;
  }

  // Rung by push(). Set before the first push.
  void set_bell(const os::Doorbell* bell) noexcept { bell_ = bell; }

  std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::uint64_t kCells = 1024;
  struct Cell {
    std::atomic<std::uint64_t> sequence{0};
    Notice notice;
  };
  std::array<Cell, kCells> cells_;
  std::atomic<std::uint64_t> tail_{0};
  std::uint64_t head_ = 0;
  std::atomic<std::uint64_t> dropped_{0};
  const os::Doorbell* bell_ = nullptr;
};

}  // namespace vmm::region
