#include "base/mutex.h"

#if defined(VMM_RANK_CHECKS)

#include <array>
#include <cstddef>

#include "base/check.h"

namespace vmm::base {
namespace {

struct Held {
  const void* mutex;
  LockRank rank;
};
// Mutexes held by this thread, in the order taken. Trivial type: no destructor at thread exit.
thread_local std::array<Held, 16> held;
thread_local std::size_t held_count = 0;

}  // namespace

void rank_acquired(const void* mutex, LockRank rank) noexcept {
  if (held_count > 0) {
    const auto highest = static_cast<int>(held[held_count - 1].rank);
    if (static_cast<int>(rank) <= highest)
      check_failed(__FILE__, __LINE__, "lock rank: mutexes are taken in ascending rank",
                   static_cast<std::uint64_t>(rank), static_cast<std::uint64_t>(highest));
  }
  VMM_CHECK(held_count < held.size());
  held[held_count++] = {mutex, rank};
}

void rank_released(const void* mutex) noexcept {
  for (std::size_t i = held_count; i > 0; --i) {
    if (held[i - 1].mutex != mutex) continue;
    for (std::size_t j = i; j < held_count; ++j) held[j - 1] = held[j];
    --held_count;
    return;
  }
  check_failed(__FILE__, __LINE__, "released a mutex that this thread does not hold", 0, 0);
}

}  // namespace vmm::base

#endif
