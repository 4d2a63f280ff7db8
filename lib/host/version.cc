#include "host/version.h"

namespace vmm::host {

const char* version() noexcept { return VMM_VERSION; }

}  // namespace vmm::host
