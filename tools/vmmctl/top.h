// vmmctl top: the terminal, the host and the model brought together.
// Thread-safety: one thread.
#pragma once

#include <chrono>
#include <string>

#include "failure.h"

namespace vmmctl {

struct TopOptions {
  std::string socket;  // path, process id, or empty
  std::chrono::milliseconds interval{2000};
};

// Until the user quits or the terminal goes away. Errors: no terminal; no host.
Result<void> top(const TopOptions& options);

}  // namespace vmmctl
