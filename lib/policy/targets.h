// Targets: how much memory each guest is to have, from shares, reservations, limits, pools and the idle-memory tax.
//
// Memory goes to guests, and to pools of guests, in proportion to their shares, within what each must have at least and
// can use at most; the shares of idle memory count less. This is min-funding revocation solved at once: in the end all
// whose memory could still shrink pay the same price, rho = S / (P * (f + k * (1 - f))) with k = 1 / (1 - tax), for S
// shares, P pages, and the fraction f of them that is active (Waldspurger, "Memory Resource Management in VMware ESX
// Server", OSDI 2002, section 5).
// Thread-safety: pure functions of their arguments. O(n log n) in pools and guests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vmm::policy {

// Pages of 4 KiB; a limit of 0 is none.
struct TargetPool {
  std::size_t parent = 0;         // an earlier pool; the first pool is the root, and its own parent
  std::uint64_t shares = 1;       // against its siblings, guests and pools; 0 counts as 1
  std::uint64_t reservation = 0;  // as far as its guests can use it
  std::uint64_t limit = 0;
};

struct TargetGuest {
  std::size_t pool = 0;
  std::uint64_t shares = 1;       // 0 counts as 1
  std::uint64_t reservation = 0;  // overhead not included
  std::uint64_t limit = 0;        // overhead not included
  std::uint64_t consumed = 0;     // what it holds now, overhead included
  std::uint64_t wanted = 0;       // what it would hold if it had the memory: swapped and ballooned memory too
  std::uint64_t overhead = 0;     // part of consumed that cannot be taken
  double active = 1;              // fraction of its memory in use, 0..1
  double tax = 0;                 // on its idle memory, 0 <= tax < 1
};

struct TargetSnapshot {
  std::uint64_t memory = 0;         // for all guests together
  std::vector<TargetPool> pools;    // at least the root, whose shares, reservation and limit say nothing
  std::vector<TargetGuest> guests;
};

struct Targets {
  std::vector<std::uint64_t> pages;  // one per guest, in the snapshot's order
  // What guests must have at least is more than the memory: each target is that minimum.
  bool overfull = false;
};

// Each target is between min(reservation + overhead, w) and min(limit + overhead, w), where w = max(consumed, wanted),
// and together they are at most the memory, unless it is overfull. What nobody wants is nobody's: guests that grow are
// given it as they do. The order of guests and of sibling pools does not matter.
Targets plan_targets(const TargetSnapshot& snapshot);

}  // namespace vmm::policy
