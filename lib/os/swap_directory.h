// The directory of swap files where the options name none.
// Thread-safety: any thread, as getenv(3).
#pragma once

#include <cstdlib>
#include <string>

namespace vmm::os {

// $TMPDIR, else /var/tmp. A program with raised privileges does not trust its environment.
inline std::string default_swap_directory() {
  const char* named = ::secure_getenv("TMPDIR");
  return named != nullptr && *named != '\0' ? named : "/var/tmp";
}

}  // namespace vmm::os
