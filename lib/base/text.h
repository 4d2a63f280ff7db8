// Figures as text, for reasons, events and errors.
// Thread-safety: pure; they allocate, so fault threads do not use them.
#pragma once

#include <cstdint>
#include <string>

namespace vmm::base {

// "4 GiB", "1.5 MiB", "100 bytes": the greatest binary unit that gives at least 1, one decimal where inexact.
std::string bytes_text(std::uint64_t bytes);

}  // namespace vmm::base
