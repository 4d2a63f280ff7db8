// Pools: a tree of groups of guests that divide memory among themselves first, by their own shares.
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <optional>

#include "vmm/shares.h"

namespace vmm {

// Names are paths: "/production", "/production/web". The root, "/", always exists, and is the host.
struct PoolOptions {
  Shares shares = Shares::normal();  // its claim to memory against its siblings
  // Memory guaranteed to the pool's guests together, in bytes: at most what its parent has unreserved.
  std::uint64_t reservation = 0;
  // Its guests may reserve more than that, from what the parent has unreserved.
  bool expandable_reservation = true;
  // Most memory its guests together may hold, in bytes; 0 = no limit. Guests of a pool with a limit are managed from
  // their creation.
  std::uint64_t limit = 0;
};

// What is to change: what is not named stays.
struct PoolChange {
  std::optional<Shares> shares{};
  std::optional<std::uint64_t> reservation{};
  std::optional<bool> expandable_reservation{};
  std::optional<std::uint64_t> limit{};
};

}  // namespace vmm
