// Rebalance packing: all guests that may be moved are laid out anew, the most entitled first, each on the least loaded
// node that may take it (Graham, "Bounds on Multiprocessing Timing Anomalies", 1969), its home if that is as good. For
// hosts of few large guests, where no single move or swap helps.
// Thread-safety: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "policy/rebalance_board.h"

namespace vmm::policy {

struct Packing {
  std::vector<std::size_t> node;  // by guest of the board; of guests that stay: their home
  double imbalance = 0;
  double most = 0;  // load of the most loaded node
};

// The best of several ways, and of what of the layout of an earlier plan (guests by id, and nodes) is possible still.
// None where there are too many guests for it to be worth its time.
std::optional<Packing> pack(const RebalanceBoard& board, const RebalanceOptions& options,
                            const std::map<std::uint64_t, int>& layout);

// At most `most` moves towards it, to be made together: after the last of them no node is filled above `full` that was
// not before.
struct PackingMove {
  std::size_t guest = 0, to = 0;
};
std::vector<PackingMove> steps_towards(const Packing& packing, RebalanceBoard board, std::size_t most, double full);

}  // namespace vmm::policy
