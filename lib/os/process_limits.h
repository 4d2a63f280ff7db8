// Limits the kernel sets this process, and what of them is used.
// Thread-safety: every function may be called from any thread; they allocate and read /proc.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "vmm/result.h"

namespace vmm::os {

// vm.max_map_count: most mappings a process may have. Errors: EBADMSG, any errno of reading.
Result<std::uint64_t> max_map_count();

// Mappings this process has now. Reads all of /proc/self/maps (0.1 ms per thousand mappings or so).
// Errors: any errno of reading.
Result<std::uint64_t> maps_in_use();

// Soft limit of this process, by its name in /proc/self/limits ("Max open files"); no value = unlimited.
// Errors: EBADMSG (no such limit), any errno of reading.
Result<std::optional<std::uint64_t>> soft_limit(std::string_view name);

}  // namespace vmm::os
