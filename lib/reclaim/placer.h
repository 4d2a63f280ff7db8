// Placer: reads ahead whose bytes have come, and a thread that helps the fault thread to put them in place.
//
// Copying pages into place takes a processor about as long as a fast device takes to read them, so one thread alone
// halves the speed of a stream. Whoever is free takes the oldest: a read that no helper has begun never waits for one.
// Thread-safety: the fault thread's, but for take(), which the helper calls too; start(), set_bell() and end() are
// called while that does not run.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "os/poller.h"
#include "os/thread.h"
#include "vmm/result.h"

namespace vmm::reclaim {

class Placer {
 public:
  static constexpr std::size_t kReads = 16;
  static constexpr std::size_t kNone = kReads;

  ~Placer() { end(); }
  // `place` puts the read of that index in place; called by the helper. Errors: EAGAIN, ENOMEM (threads).
  Result<void> start(const std::string& name, std::function<void(std::size_t)> place);
  // Rung once for each want(), when the helper has put something in place after it. It outlives end().
  void set_bell(const os::Doorbell& bell) noexcept { bell_ = &bell; }
  // Ends the helper; nothing is to be put in place any more. Idempotent.
  void end() noexcept;

  // The read of that index has come and waits for somebody to put it in place.
  void arrived(std::size_t index) noexcept;
  // The oldest read that waits is the caller's now; kNone: there is none.
  std::size_t take() noexcept;
  // The fault thread has put in place what it took.
  void finished(std::size_t index) noexcept { tickets_[index].store(kIdle, std::memory_order_relaxed); }
  // Some wait.
  bool waiting() const noexcept;
  // The read of that index has arrived, and is neither finished nor collected.
  bool has(std::size_t index) const noexcept { return tickets_[index].load(std::memory_order_acquire) != kIdle; }
  // Wakes the helper.
  void call_helper() noexcept;
  // Calls done(index) for what the helper has put in place.
  template <typename Done>
  void collect(Done done) noexcept {
    for (std::size_t i = 0; i < kReads; ++i)
      if (tickets_[i].load(std::memory_order_acquire) == kPlaced) {
        tickets_[i].store(kIdle, std::memory_order_relaxed);
        done(i);
      }
  }
  // Rings when the helper is next done with a read. collect() is to be called once more after this.
  void want() noexcept { wanted_.exchange(true, std::memory_order_seq_cst); }

 private:
  // A ticket is one of these, or the number of an arrival.
  static constexpr std::uint64_t kIdle = 0, kTaken = 1, kPlaced = 2, kFirstArrival = 3;

  void help() noexcept;

  std::array<std::atomic<std::uint64_t>, kReads> tickets_{};
  std::uint64_t next_arrival_ = kFirstArrival;
  std::function<void(std::size_t)> place_;
  const os::Doorbell* bell_ = nullptr;
  std::atomic<std::uint32_t> calls_{0};
  std::atomic<bool> wanted_{false};
  std::atomic<bool> stop_{false};
  os::Thread thread_;
};

}  // namespace vmm::reclaim
