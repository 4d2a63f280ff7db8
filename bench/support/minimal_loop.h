// MinimalLoop: the least a program can do to answer page faults itself: one thread that blocks in read() on a
// userfaultfd and answers each event with UFFDIO_COPY of one page. The peer of the fault service.
// Thread-safety: created and destroyed by one thread; memory() may be touched by any.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>

#include "support/memory.h"
#include "vmm/units.h"

namespace vmm::bench {

class MinimalLoop {
 public:
  static constexpr const char* kThreadName = "minimal-loop";

  // Throws std::runtime_error with the reason.
  explicit MinimalLoop(std::uint64_t bytes);
  ~MinimalLoop();

  // All missing at first.
  std::span<std::byte> memory() const noexcept { return memory_.memory().first(bytes_); }
  void drop() { memory_.drop(); }

 private:
  void run() noexcept;

  const std::uint64_t bytes_;
  PlainMapping memory_;  // and one page more, whose fault ends the thread
  int fd_ = -1;
  std::atomic<bool> stop_{false};
  alignas(kPageSize) std::array<std::byte, kPageSize> page_{};
  std::thread thread_;
};

}  // namespace vmm::bench
