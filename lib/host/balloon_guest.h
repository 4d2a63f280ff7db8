// BalloonGuest: what a balloon needs of its guest, and that for a guest's memory.
// Thread-safety: every function from any thread but a fault thread; none is called after Balloon::end().
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "reclaim/balloon_pages.h"

namespace vmm::host {

class BalloonGuest {
 public:
  virtual ~BalloonGuest() = default;

  virtual std::uint64_t pages() const noexcept = 0;
  // Pages by which the balloon may still grow.
  virtual std::uint64_t room() const noexcept = 0;
  // Ballooned pages that were touched, since creation.
  virtual std::uint64_t popped() const noexcept = 0;
  // As the functions of reclaim/balloon_pages.h.
  virtual reclaim::Given give(std::uint64_t first, std::uint64_t count, std::uint64_t most) noexcept = 0;
  virtual reclaim::PageStretch take_back(std::uint64_t first, std::uint64_t count) noexcept = 0;
  // Counts what was not even tried.
  virtual void count_refused(std::uint64_t pages) noexcept = 0;
  virtual void count_late() noexcept = 0;
};

class MemoryBalloonGuest final : public BalloonGuest {
 public:
  explicit MemoryBalloonGuest(region::GuestMemory& memory) noexcept : memory_(memory) {}
  // Most pages that the balloon may hold; 0 until it is told.
  void set_most(std::uint64_t pages) noexcept { most_.store(pages, std::memory_order_relaxed); }

  std::uint64_t pages() const noexcept override { return memory_.pages(); }
  std::uint64_t room() const noexcept override {
    const auto most = most_.load(std::memory_order_relaxed);
    return most - std::min(most, memory_.counters.ballooned.load(std::memory_order_relaxed));
  }
  std::uint64_t popped() const noexcept override {
    return memory_.counters.balloon_popped.load(std::memory_order_relaxed);
  }
  reclaim::Given give(std::uint64_t first, std::uint64_t count, std::uint64_t most) noexcept override {
    return reclaim::give(memory_, first, count, most);
  }
  reclaim::PageStretch take_back(std::uint64_t first, std::uint64_t count) noexcept override {
    return reclaim::take_back(memory_, first, count);
  }
  void count_refused(std::uint64_t pages) noexcept override { region::bump(memory_.counters.balloon_refused, pages); }
  void count_late() noexcept override { region::bump(memory_.counters.balloon_late); }

 private:
  region::GuestMemory& memory_;
  std::atomic<std::uint64_t> most_{0};
};

}  // namespace vmm::host
