// eventually(): waits for a condition that other threads bring about, without a sleep; a generous time limit turns a
// hang into a failed test.
// Thread-safety: any thread.
#pragma once

#include <chrono>
#include <thread>

namespace vmm::test {

template <class Condition>
[[nodiscard]] bool eventually(Condition&& condition, std::chrono::seconds most = std::chrono::seconds(60)) {
  const auto until = std::chrono::steady_clock::now() + most;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace vmm::test
