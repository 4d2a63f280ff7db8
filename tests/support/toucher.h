// Toucher: a thread that uses a part of a guest's memory over and over, as a busy application does, until it ends.
// Thread-safety: one owner; passes() from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <numeric>
#include <thread>

#include "base/random.h"
#include "support/host_rig.h"

namespace vmm::test {

class Toucher {
 public:
  // Pages [first, first + pages) of the guest hold the patterns of `id`, version 1; each round reads or writes them all
  // once, in an order that differs each time. Writes: all of them hold their patterns from the end of the first round
  // on, which stop() does not cut short.
  Toucher(const Guest& guest, std::uint64_t id, std::uint64_t first, std::uint64_t pages, bool writes = true)
      : memory_(guest.memory().data()), id_(id), first_(first), pages_(pages), writes_(writes),
        thread_([this] { run(); }) {}
  ~Toucher() { stop(); }
  void stop() {
    stop_.store(true);
    if (thread_.joinable()) thread_.join();
  }
  std::uint64_t passes() const { return passes_.load(); }
  std::uint64_t touches() const { return touches_.load(); }

 private:
  void run() {
    base::Random random(id_);
    const auto may_stop = [this] {
      return stop_.load(std::memory_order_relaxed) && (!writes_ || passes_.load(std::memory_order_relaxed) > 0);
    };
    while (!may_stop()) {
      // A step that shares no factor with the number of pages visits each once.
      auto step = 1 + random.below(pages_);
      while (std::gcd(step, pages_) != 1) ++step;
      auto page = random.below(pages_);
      for (std::uint64_t i = 0; i < pages_ && !may_stop(); ++i) {
        auto* const at = memory_ + (first_ + page) * kPageSize;
        if (writes_) fill_page(at, id_, first_ + page, 1);
        else sum_ += static_cast<std::uint64_t>(*const_cast<volatile std::byte*>(at));
        touches_.fetch_add(1, std::memory_order_relaxed);
        page = (page + step) % pages_;
      }
      passes_.fetch_add(1, std::memory_order_relaxed);  // or the part of one in which it was stopped
    }
  }

  std::byte* const memory_;
  const std::uint64_t id_, first_, pages_;
  const bool writes_;
  std::uint64_t sum_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> passes_{0}, touches_{0};
  std::thread thread_;
};

}  // namespace vmm::test
