// HomeRecord: what the home-node scheduler remembers of a guest.
// Thread-safety: atomics are set by whoever gives the guest a home (one thread at a time) and read by any; the rest is
// the scheduler's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace vmm::host {

// Processors.
struct CpuDemand {
  double used = 0, wanted = 0;  // wanted: what was waited for included
  unsigned threads = 0;
};

struct HomeRecord {
  static constexpr base::Nanos::rep kNever = -1;

  std::atomic<bool> movable{true};                     // as GuestOptions::rebalance
  std::atomic<base::Nanos::rep> last_move{kNever};     // time
  std::atomic<base::Nanos::rep> not_before{0};         // a move that failed is not tried again until then
  std::atomic<int> came_from{-1};
  std::atomic<bool> homed_back{false};                 // the last move was to where most of it still was
  std::atomic<std::uint64_t> moves{0};
  std::atomic<bool> changing{false};                   // who changes the home says what is moved
  std::atomic<int> nice{0};                            // of its threads, above what they came with
  std::atomic<double> local{1};                        // part of its memory that is on its home, as last counted

  // Bytes per node, as the host's topology lists them, scaled up from a sample; empty: not known.
  std::vector<std::uint64_t> by_node;
  double counted = 0;             // bytes that it held then
  double owed = 0;                // processor time, as the last plan says
  double behind = 0;              // the same within its node (policy/thread_weights.h)
  std::uint64_t moves_seen = 0;   // at the last look
  base::Nanos next_pass{};        // of migration
  unsigned fruitless_passes = 0;  // in a row
  bool pass_told = true;          // the last pass that ended
  bool some_stayed = false;       // in the last pass: worth another, even where it is next to nothing
};

}  // namespace vmm::host
