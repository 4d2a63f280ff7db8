// Gate: lets calls in until it is closed, and closing waits for those inside. A guest's calls go through one, so
// that its host may end while other threads still hold the handle.
// Thread-safety: any thread; no lock.
#pragma once

#include <atomic>
#include <cstdint>

namespace vmm::host {

class Gate {
 public:
  // False: closed, and the caller is not inside.
  bool enter() noexcept {
    if ((state_.fetch_add(1, std::memory_order_acquire) & kClosed) == 0) return true;
    leave();
    return false;
  }
  void leave() noexcept {
    if ((state_.fetch_sub(1, std::memory_order_release) & kClosed) != 0) state_.notify_all();
  }
  // Nobody gets in any more.
  void close() noexcept { state_.fetch_or(kClosed, std::memory_order_acq_rel); }
  // Waits for those inside; the gate is closed.
  void wait_until_empty() noexcept {
    for (auto s = state_.load(std::memory_order_acquire); s != kClosed; s = state_.load(std::memory_order_acquire))
      state_.wait(s, std::memory_order_acquire);
  }

 private:
  static constexpr std::uint64_t kClosed = 1ULL << 63;
  std::atomic<std::uint64_t> state_{0};
};

// Inside while it lives, if it got in.
class GatePass {
 public:
  explicit GatePass(Gate& gate) noexcept : gate_(gate.enter() ? &gate : nullptr) {}
  ~GatePass() {
    if (gate_ != nullptr) gate_->leave();
  }
  GatePass(const GatePass&) = delete;
  GatePass& operator=(const GatePass&) = delete;
  explicit operator bool() const noexcept { return gate_ != nullptr; }

 private:
  Gate* const gate_;
};

}  // namespace vmm::host
