// PageShadow: what the test knows of one guest page: which contents are expected, who may change them now, and
// what was done to it last.
//
// Lock of a page: readers share it, a writer has it alone; each writer moves the sequence on, so that a reader
// without the lock can tell whether it looked at one version. Several pages are locked in ascending order.
// Thread-safety: all of it; lock-free but for the waiting of lock() and lock_shared(), which yields.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

#include "stress/page_pattern.h"

namespace vmm::stress {

// What is done to pages; also what a thread is doing.
enum class Op : std::uint8_t {
  none,
  read,
  glance,
  write,
  write_zeros,
  patch,
  count,
  bulk_write,
  scan,
  discard,
  pin,
  unpin,
  reclaim,
  restore,
  prefetch,
  device_in,
  device_out,
  seat,
  create,
  destroy,
  stats,
  native,
  give,       // by the balloon
  configure,
  rehome,
  compare,
};
inline constexpr unsigned kOps = static_cast<unsigned>(Op::compare) + 1;
const char* to_string(Op op) noexcept;

// One line of a page's log.
struct LoggedOp {
  Op op = Op::none;
  std::uint8_t thread = 0;
  std::uint64_t number = 0;  // the thread's count of operations
};

class PageShadow {
 public:
  void lock() noexcept {
    for (int spins = 0;; ++spins) {
      auto l = lock_.load(std::memory_order_relaxed);
      if ((l & (kWriter | kReaders)) == 0 && lock_.compare_exchange_weak(l, l | kWriter, std::memory_order_acquire))
        return;
      if (spins > 32) std::this_thread::yield();
    }
  }
  bool try_lock() noexcept {
    auto l = lock_.load(std::memory_order_relaxed);
    return (l & (kWriter | kReaders)) == 0 && lock_.compare_exchange_strong(l, l | kWriter, std::memory_order_acquire);
  }
  void unlock() noexcept { lock_.fetch_add(kSequence - kWriter, std::memory_order_release); }
  void lock_shared() noexcept {
    for (int spins = 0;; ++spins) {
      auto l = lock_.load(std::memory_order_relaxed);
      if ((l & kWriter) == 0 && lock_.compare_exchange_weak(l, l + 1, std::memory_order_acquire)) return;
      if (spins > 32) std::this_thread::yield();
    }
  }
  void unlock_shared() noexcept { lock_.fetch_sub(1, std::memory_order_release); }

  // For who looks without the lock: equal before and after, and not `changing`, means one version in between.
  std::uint64_t sequence() const noexcept { return lock_.load(std::memory_order_acquire) & ~kReaders; }
  static bool changing(std::uint64_t sequence) noexcept { return (sequence & kWriter) != 0; }

  Content content() const noexcept { return Content::unpack(content_.load(std::memory_order_acquire)); }
  // With the lock, exclusive.
  void set_content(Content c) noexcept { content_.store(c.packed(), std::memory_order_release); }

  // Counter of one thread: changed by that thread with the lock shared, set to 0 with it exclusive.
  std::uint32_t counter(std::size_t thread) const noexcept { return counters_[thread].load(std::memory_order_acquire); }
  void count(std::size_t thread) noexcept { counters_[thread].fetch_add(1, std::memory_order_release); }
  void reset_counters() noexcept {
    for (auto& c : counters_) c.store(0, std::memory_order_release);
  }

  void log(Op op, unsigned thread, std::uint64_t number) noexcept {
    const auto at = next_.fetch_add(1, std::memory_order_relaxed) % kLogged;
    log_[at].store(static_cast<std::uint64_t>(op) << 56 | static_cast<std::uint64_t>(thread & 0xff) << 48 |
                       (number & 0xffffffffffff),
                   std::memory_order_relaxed);
  }
  // Oldest first; `none` where there is nothing yet.
  static constexpr std::size_t kLogged = 8;
  std::array<LoggedOp, kLogged> logged() const noexcept {
    std::array<LoggedOp, kLogged> ops;
    const auto next = next_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < kLogged; ++i) {
      const auto raw = log_[(next + i) % kLogged].load(std::memory_order_relaxed);
      ops[i] = {static_cast<Op>(raw >> 56), static_cast<std::uint8_t>(raw >> 48 & 0xff), raw & 0xffffffffffff};
    }
    return ops;
  }

 private:
  static constexpr std::uint64_t kReaders = 0xffff, kWriter = 1 << 16, kSequence = 1 << 17;
  std::atomic<std::uint64_t> lock_{0};
  std::atomic<std::uint64_t> content_{0};
  std::array<std::atomic<std::uint32_t>, kMostThreads> counters_{};
  std::array<std::atomic<std::uint64_t>, kLogged> log_{};
  std::atomic<std::uint32_t> next_{0};
};

}  // namespace vmm::stress
