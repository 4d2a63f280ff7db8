// CallHook: makes OS calls fail, counts them, or holds a thread at one until released, while the library runs.
// Unlike NthCallFails it may come and go while other threads are making calls: what they ask is never freed.
// Thread-safety: one CallHook at a time; its functions from any thread.
#pragma once

#include <cstdint>
#include <string>

#include "os/call.h"

namespace vmm::test {

class CallHook {
 public:
  static constexpr std::uint64_t kAlways = ~std::uint64_t{0};

  CallHook();
  // Releases who is held, and removes itself.
  ~CallHook();
  CallHook(const CallHook&) = delete;
  CallHook& operator=(const CallHook&) = delete;

  // The next `times` calls of that kind fail with that errno; 0 times: none any more. By threads whose name begins
  // with `thread` only (empty: all).
  void fail(os::Call call, int error, std::uint64_t times = kAlways, const std::string& thread = {});
  // Calls of that kind since the hook was made.
  std::uint64_t count(os::Call call) const noexcept;

  // Threads whose name begins with `thread` stop before a call of that kind until release().
  void hold(os::Call call, const std::string& thread);
  // How many threads stand there now.
  int held() const noexcept;
  void release() noexcept;
};

}  // namespace vmm::test
