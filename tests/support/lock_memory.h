// lock_memory(): mlock by the system call itself: the sanitizers make nothing of the C library's.
// Thread-safety: any thread.
#pragma once

#include <cstdint>
#include <sys/syscall.h>
#include <unistd.h>

namespace vmm::test {

inline int lock_memory(const void* start, std::uint64_t bytes) {
  return static_cast<int>(::syscall(SYS_mlock, start, bytes));
}
inline int unlock_memory(const void* start, std::uint64_t bytes) {
  return static_cast<int>(::syscall(SYS_munlock, start, bytes));
}

}  // namespace vmm::test
