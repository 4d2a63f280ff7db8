// guarded(): the border between the library, where containers may throw std::bad_alloc, and its callers, whom
// nothing is thrown at.
// Thread-safety: pure.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>

#include "base/error.h"

namespace vmm::host {

template <class F>
auto guarded(const char* operation, F&& f) noexcept -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    // Short enough for the small-string buffer: this allocates nothing.
    return base::fail_errno(ENOMEM, std::string(operation, std::min<std::size_t>(std::strlen(operation), 15)),
                            "free memory");
  }
}

}  // namespace vmm::host
