// The two pools the tenants are in: production, which has a greater claim to memory while it is short, and batch.
// Thread-safety: as of the host.
#pragma once

#include <cstdint>

#include "options.h"
#include "outcome.h"
#include "vmm/vmm.h"

namespace tenants {

inline constexpr const char* kProduction = "/production";
inline constexpr const char* kBatch = "/batch";

// Pool of the tenant of that number, from 0: the first ones are production.
inline const char* pool_of(const Options& options, std::uint64_t tenant) noexcept {
  return tenant < options.production ? kProduction : kBatch;
}

// Makes both, before any guest.
Outcome<void> make_pools(vmm::Host& host, const Options& options);

}  // namespace tenants
