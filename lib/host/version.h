// The version of the library, as its build names it.
// Thread-safety: a constant.
#pragma once

namespace vmm::host {

const char* version() noexcept;

}  // namespace vmm::host
