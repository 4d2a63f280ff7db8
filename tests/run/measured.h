// Programs run by themselves and by vmmctl run, and what they took.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/program.h"

namespace run_test {

struct Measured {
  int status = -1;  // as fake::Outcome
  std::string out;
  std::uint64_t peak = 0;  // bytes that were in memory at most
};
// To its end. `arguments` begin with the program.
Measured measure(const std::vector<std::string>& arguments);

// vmmctl run with the options, the swap directory, and the program.
std::vector<std::string> in_guest(const std::vector<std::string>& options, const std::vector<std::string>& program);
fake::Outcome run_in_guest(const std::vector<std::string>& options, const std::vector<std::string>& program);

// As an argument of --memory: half of it, at least what a host needs.
std::string half_of(std::uint64_t bytes);

// The number before `unit` after `name` in a report at exit, in MiB.
double reported(const std::string& report, const std::string& name);

}  // namespace run_test
