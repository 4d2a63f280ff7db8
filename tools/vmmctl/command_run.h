// vmmctl run: see commands.h. Its command line is in two parts.
// Thread-safety: one thread.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

namespace vmmctl {

// `program`: the words behind the first --, if there is one; the parser gets only those before it.
void add_run(CLI::App& app, const std::optional<std::vector<std::string>>& program, int& status);

}  // namespace vmmctl
