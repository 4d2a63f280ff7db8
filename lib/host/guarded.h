// guarded(): the border between the library, where containers may throw std::bad_alloc, and its callers, whom
// nothing is thrown at.
// Thread-safety: pure.
#pragma once

#include <cerrno>
#include <new>

#include "base/error.h"

namespace vmm::host {

template <class F>
auto guarded(const char* operation, F&& f) noexcept -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    // Short enough for the small-string buffer: this allocates nothing.
    return base::fail_errno(ENOMEM, std::string(operation).substr(0, 15), "free memory");
  }
}

}  // namespace vmm::host
