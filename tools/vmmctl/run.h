// What `vmmctl run` does: makes out what the user wants, and becomes the program with the library loaded into it.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "failure.h"
#include "../run/settings.h"
#include "vmm/capabilities.h"

namespace vmmctl {

// As the user gives them; sizes in words.
struct RunOptions {
  std::string memory, size, swap_directory, stats_socket, mmap_threshold;
  bool no_stats_socket = false, control = false, report_at_exit = false, children = false, accept_baseline = false;
  std::vector<std::string> program;  // with its arguments
};

// The size of the guest where none is given: four times the memory, as far as the swap directory has room for it.
std::uint64_t default_size(std::uint64_t memory, std::uint64_t swap_space_free) noexcept;

// Errors: FailureKind::usage naming the option.
Result<vmm::run::Settings> run_settings(const RunOptions& options, const vmm::Capabilities& machine);

// Where the library is that belongs to this vmmctl: in the build tree or where both are installed.
// Errors: FailureKind::system.
Result<std::string> run_library();

// Takes the place of this process. Returns what to end with where that fails: 127 not found, 126 not to be executed,
// 125 anything else, as env(1).
int run(const RunOptions& options);

}  // namespace vmmctl
