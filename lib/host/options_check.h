// Checks of the options a user gives: an error names the field, its value and the remedy.
// Thread-safety: pure.
#pragma once

#include <cstdint>
#include <string>

#include "topology/topology.h"
#include "vmm/capabilities.h"
#include "vmm/options.h"
#include "vmm/pool.h"
#include "vmm/result.h"

namespace vmm::host {

// `budget`: bytes, the option's or what stands for 0. `buffers`: bytes of it that the nodes take for themselves.
Result<void> check_host_options(const HostOptions& options, std::uint64_t budget, std::uint64_t buffers,
                                const Capabilities& capabilities);
Result<void> check_guest_options(const GuestOptions& options, const topology::Topology& topology);

// `what`: the field that names the node. Errors: ENODEV.
Result<void> check_home_node(const std::string& what, int node, const topology::Topology& topology);

Result<void> check_pool_options(const std::string& path, const PoolOptions& options);

// Bytes that the tables of a guest of that size take, the kernel's included: four words a page.
constexpr std::uint64_t table_bytes(std::uint64_t memory) noexcept { return memory / kPageSize * 32; }

// That guests can be managed. `what` is what needs it. Errors: Errc::not_supported, saying what is missing.
Result<void> check_manageable(const std::string& what, const Capabilities& capabilities);

// Where nothing can be reclaimed, guests must fit. Bytes. Errors: Errc::admission_refused, saying what is missing.
Result<void> check_fits(const GuestOptions& options, std::uint64_t budget, std::uint64_t guest_memory,
                        const Capabilities& capabilities);

}  // namespace vmm::host
