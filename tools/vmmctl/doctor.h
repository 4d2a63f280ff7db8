// vmmctl doctor: what vmm::probe() finds, with how much it matters.
// Thread-safety: any thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "vmm/capabilities.h"

namespace vmmctl {

// In this order they are the exit status.
enum class Severity {
  ok,       // nothing to do
  advice,   // works, and something would be better otherwise
  problem,  // guests cannot be reclaimed from, or not be created
};
const char* to_string(Severity severity);

Severity severity_of(const vmm::Capability& item);
// Of the worst item, and of the level.
Severity severity_of(const vmm::Capabilities& capabilities);

struct DoctorStyle {
  bool colour = false;
  bool all = false;  // what is well is explained too
  std::size_t width = 80;
};
std::string doctor_text(const vmm::Capabilities& capabilities, const std::string& kernel, const DoctorStyle& style);
nlohmann::json doctor_json(const vmm::Capabilities& capabilities, const std::string& kernel);

}  // namespace vmmctl
