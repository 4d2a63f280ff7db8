// Accesses to memory that may not be there: while a CatchSignals lives, SIGSEGV and SIGBUS become a result.
// Thread-safety: any thread.
#pragma once

#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstdint>

#include "support/page_oracle.h"
#include "vmm/units.h"

namespace vmm::test {

struct Access {
  int signal = 0;  // 0 = the access succeeded
  std::uint64_t value = 0;
};

// `action` is called and may get a signal; it returns what becomes Access::value and owns nothing.
template <class Action>
Access guarded(Action&& action) noexcept {
  sigjmp_buf here;
  sigjmp_buf* const outer = fault_jump;
  if (const int signal = sigsetjmp(here, 1)) {
    fault_jump = outer;
    return {signal, 0};
  }
  fault_jump = &here;
  const std::uint64_t value = action();
  fault_jump = outer;
  return {0, value};
}

// One word (8 bytes, aligned).
inline Access try_read(const void* word) noexcept {
  return guarded([=] { return __atomic_load_n(static_cast<const std::uint64_t*>(word), __ATOMIC_SEQ_CST); });
}
inline Access try_write(void* word, std::uint64_t value) noexcept {
  return guarded([=] {
    __atomic_store_n(static_cast<std::uint64_t*>(word), value, __ATOMIC_SEQ_CST);
    return value;
  });
}

}  // namespace vmm::test
