#include "os/process.h"

#include <unistd.h>

namespace vmm::os {

int process_id() noexcept { return ::getpid(); }
unsigned user_id() noexcept { return ::geteuid(); }

}  // namespace vmm::os
