// Admission: whether what guests and pools are guaranteed can be had, and if not, where how much is missing.
//
// What a guest reserves, its overhead included, comes out of its pool's reservation; what that does not cover comes,
// where the pool is expandable, out of what its parent has unreserved (public vSphere resource-management manual,
// "Expandable reservation"). The root has what the host can give.
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace vmm::policy {

// Bytes, or pages: whatever all of a snapshot are in.
struct AdmissionPool {
  std::size_t parent = 0;  // an earlier pool; the first pool is the root, and its own parent
  std::uint64_t reservation = 0;
  bool expandable = true;
  std::uint64_t limit = 0;     // 0 = none
  std::uint64_t reserved = 0;  // by guests that are directly in it, overhead included
};

struct Shortage {
  std::size_t pool = 0;        // where it is missing; 0: the host itself
  std::uint64_t missing = 0;
  std::uint64_t unreserved = 0;  // what was left there without the one that was refused
  bool limit = false;          // the pool's limit is below what it would reserve
};

// What is reserved in each pool: by its guests and its pools.
std::vector<std::uint64_t> reserved_within(const std::vector<AdmissionPool>& pools);

// The first shortage, deepest pool first, of `after`, in a host that can give `capacity`, that is larger than it was
// `before`: the same pools, the last of which may be missing, in a host that could give `capacity_before`. Pins and
// overhead may have taken what was reserved; a change that does not make that worse is no reason to refuse it.
std::optional<Shortage> find_shortage(const std::vector<AdmissionPool>& before, std::uint64_t capacity_before,
                                      const std::vector<AdmissionPool>& after, std::uint64_t capacity);

}  // namespace vmm::policy
