// Makes the Nth call of one kind fail, once or from then on; with n = 0 it only counts.
// Installed while it lives. One at a time; begin and end it while no other thread is making OS calls.
#pragma once

#include <atomic>
#include <cstdint>

#include "os/call.h"

namespace vmm::test {

class NthCallFails final : public os::Interceptor {
 public:
  enum class Repeat { once, forever };

  // `n` counts from 1; `error` is an errno.
  NthCallFails(os::Call call, std::uint64_t n, int error, Repeat repeat = Repeat::once) noexcept
      : call_(call), n_(n), error_(error), repeat_(repeat) {
    os::set_interceptor(this);
  }
  ~NthCallFails() override { os::set_interceptor(nullptr); }
  NthCallFails(const NthCallFails&) = delete;
  NthCallFails& operator=(const NthCallFails&) = delete;

  int before(os::Call call) noexcept override {
    if (call != call_) return 0;
    const std::uint64_t number = seen_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (n_ == 0 || number < n_ || (number > n_ && repeat_ == Repeat::once)) return 0;
    failed_.fetch_add(1, std::memory_order_relaxed);
    return error_;
  }

  // Calls of the kind so far, and how many of them were made to fail.
  std::uint64_t seen() const noexcept { return seen_.load(std::memory_order_relaxed); }
  std::uint64_t failed() const noexcept { return failed_.load(std::memory_order_relaxed); }

 private:
  const os::Call call_;
  const std::uint64_t n_;
  const int error_;
  const Repeat repeat_;
  std::atomic<std::uint64_t> seen_{0};
  std::atomic<std::uint64_t> failed_{0};
};

}  // namespace vmm::test
