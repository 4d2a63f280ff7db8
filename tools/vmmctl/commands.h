// The subcommands: each adds itself to the command line, and is run when it was chosen.
// Thread-safety: one thread.
#pragma once

#include <CLI/CLI.hpp>

namespace vmmctl {

// What the process ends with; the man page repeats them. doctor has statuses of its own.
constexpr int kSuccess = 0;
constexpr int kFailure = 1;
constexpr int kWrongUse = 64;

// Each sets `status` when it is run.
void add_doctor(CLI::App& app, int& status);
void add_top(CLI::App& app, int& status);
void add_record(CLI::App& app, int& status);
void add_report(CLI::App& app, int& status);
void add_control(CLI::App& app, int& status);

}  // namespace vmmctl
