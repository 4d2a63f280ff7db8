// VMM_CHECK: a broken invariant of the library ends the process with a message that names it.
// Thread-safety: any thread, fault threads included: the message is formatted on the stack and written
// with one write(2); nothing is allocated.
#pragma once

#include <cstdint>

namespace vmm::base {

[[noreturn]] void check_failed(const char* file, int line, const char* what, std::uint64_t left,
                               std::uint64_t right) noexcept;

}  // namespace vmm::base

#define VMM_CHECK(condition)                                                      \
  do {                                                                            \
    if (!(condition)) [[unlikely]]                                                \
      ::vmm::base::check_failed(__FILE__, __LINE__, #condition, 0, 0);            \
  } while (0)

// Both sides are integers or enums and are printed.
#define VMM_CHECK_EQ(left, right)                                                                    \
  do {                                                                                               \
    if (auto l_ = (left); l_ != (right)) [[unlikely]]                                                \
      ::vmm::base::check_failed(__FILE__, __LINE__, #left " == " #right,                             \
                                static_cast<std::uint64_t>(l_), static_cast<std::uint64_t>(right));  \
  } while (0)
