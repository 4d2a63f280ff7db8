// Checks of the options a user gives: an error names the field, its value and the remedy.
// Thread-safety: pure.
#pragma once

#include <cstdint>

#include "topology/topology.h"
#include "vmm/capabilities.h"
#include "vmm/options.h"
#include "vmm/result.h"

namespace vmm::host {

// `budget`: bytes, the option's or what stands for 0.
Result<void> check_host_options(const HostOptions& options, std::uint64_t budget, const Capabilities& capabilities);
Result<void> check_guest_options(const GuestOptions& options, const topology::Topology& topology);

// Bytes.
struct AdmissionState {
  std::uint64_t budget = 0, overhead = 0, reserved = 0, guest_memory = 0;
  double min_free = 0;
  bool can_reclaim = true;
};

// Whether the host can keep its promises to that guest too. Errors: Errc::admission_refused, saying what is missing.
Result<void> check_admission(const GuestOptions& options, const AdmissionState& state);

}  // namespace vmm::host
