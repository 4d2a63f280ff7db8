// Leftovers: pages that a fault thread has given back by copying them; the worker drops their staged originals. Until
// then the word of such a page says writing(), which keeps its place in staging from being used.
//
// A copy answers a fault sooner than UFFDIO_MOVE, which must flush the page out of every processor's TLB first:
// 3.4 us against 6-8 us beside one busy thread of the process.
// Thread-safety: one fault thread puts, one worker takes; neither waits or allocates.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace vmm::region {

class Leftovers {
 public:
  static constexpr std::uint64_t kMost = 256;  // 1 MiB that is in memory twice

  bool full() const noexcept {
    return put_.load(std::memory_order_relaxed) - taken_.load(std::memory_order_acquire) == kMost;
  }
  // REQUIRES: !full(). Returns how many there are now.
  std::uint64_t put(std::uint64_t page) noexcept {
    const auto at = put_.load(std::memory_order_relaxed);
    pages_[at % kMost] = page;
    put_.store(at + 1, std::memory_order_release);
    return at + 1 - taken_.load(std::memory_order_relaxed);
  }
  // Calls drop(page) for each that is there.
  template <class Drop>
  void take_all(const Drop& drop) {
    const auto end = put_.load(std::memory_order_acquire);
    for (auto at = taken_.load(std::memory_order_relaxed); at != end; ++at) {
      drop(pages_[at % kMost]);
      taken_.store(at + 1, std::memory_order_release);
    }
  }

 private:
  std::array<std::uint64_t, kMost> pages_;
  std::atomic<std::uint64_t> put_{0}, taken_{0};
};

}  // namespace vmm::region
