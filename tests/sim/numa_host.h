// NumaHost: a simulated host of NUMA nodes and guests, on which rebalancing runs for hours of virtual time.
//
// A node's processors are divided among its guests' threads as the kernel's scheduler does: every thread that wants
// time gets the same for its weight, and what one does not use goes to the others; shares are not known to it. With
// RebalanceOptions::weighted the threads have the nice values of policy/thread_weights.h, otherwise all the same. What a
// guest waits for counts as wanted. A guest that moved is followed by its memory at the rate of
// policy/migration_rate.h. Thread-safety: one thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "policy/migration_rate.h"
#include "policy/rebalance.h"
#include "policy/thread_weights.h"
#include "vmm/units.h"

namespace vmm::sim {

using std::chrono::nanoseconds;

struct SimGuest {
  int home = 0;
  std::uint64_t shares = 1000;
  unsigned threads = 1;
  double demand = 0;  // processors that all its threads together want
  std::uint64_t memory = 256 * MiB;

  // Kept by the host.
  int nice = 0;         // of its threads
  double behind = 0;    // as policy/thread_weights.h tells
  double used = 0;      // processors, in the last period
  double received = 0;  // CPU seconds since reset_totals
  double entitled = 0;  // as the plans told
  unsigned moves = 0;
  std::vector<nanoseconds> moved;
};

class NumaHost {
 public:
  NumaHost(std::size_t nodes, unsigned processors, std::uint64_t memory = 1024 * GiB) {
    for (std::size_t i = 0; i < nodes; ++i)
      snapshot_.nodes.push_back({static_cast<int>(i), processors, memory, memory, false});
    options.max_moves = static_cast<unsigned>(nodes);
    snapshot_.elapsed = period;
  }

  SimGuest& add(const SimGuest& guest) {
    const auto& nodes = snapshot_.nodes;
    policy::RebalanceGuest g;
    g.id = snapshot_.guests.size();
    g.home = guest.home;
    g.resident = guest.memory;
    g.by_node.resize(nodes.size());
    g.by_node[static_cast<std::size_t>(guest.home)] = guest.memory;
    snapshot_.nodes[static_cast<std::size_t>(guest.home)].free -= guest.memory;
    snapshot_.guests.push_back(g);
    guests.push_back(guest);
    return guests.back();
  }

  // One period: the guests run, then the host is rebalanced.
  const policy::RebalancePlan& step() {
    now += period;
    run();
    migrate();
    snapshot_.now = now;
    for (std::size_t i = 0; i < guests.size(); ++i) {
      auto& g = snapshot_.guests[i];
      g.shares = guests[i].shares;
      g.threads = guests[i].threads;
      g.used = guests[i].used;
      g.wanted = guests[i].demand;
    }
    plan_ = policy::plan_rebalance(snapshot_, options);
    snapshot_.history = plan_.history;
    for (std::size_t i = 0; i < guests.size(); ++i) {
      snapshot_.guests[i].owed = plan_.owed[i];
      guests[i].entitled += plan_.entitlements[i] * seconds();
    }
    for (const auto& move : plan_.moves) make(move);
    if (options.weighted) weigh();
    return plan_;
  }

  void reset_totals() {
    for (SimGuest& guest : guests) guest.received = guest.entitled = 0;
  }

  double seconds() const { return std::chrono::duration<double>(period).count(); }
  std::uint64_t remote(std::size_t guest) const {
    const auto& g = snapshot_.guests[guest];
    return g.resident - g.by_node[static_cast<std::size_t>(g.home)];
  }
  policy::RebalanceSnapshot& snapshot() { return snapshot_; }

  std::vector<SimGuest> guests;
  policy::RebalanceOptions options;
  nanoseconds now{};
  nanoseconds period{std::chrono::seconds(2)};
  std::size_t moves = 0;  // all that were made

 private:
  void run() {
    std::vector<std::vector<SimGuest*>> homed(snapshot_.nodes.size());
    for (SimGuest& guest : guests) homed[static_cast<std::size_t>(guest.home)].push_back(&guest);
    for (std::size_t n = 0; n < homed.size(); ++n) divide(snapshot_.nodes[n].processors, homed[n]);
    for (SimGuest& guest : guests) guest.received += guest.used * seconds();
  }

  void weigh() {
    std::vector<std::vector<std::size_t>> homed(snapshot_.nodes.size());
    for (std::size_t i = 0; i < guests.size(); ++i) homed[static_cast<std::size_t>(guests[i].home)].push_back(i);
    for (std::size_t n = 0; n < homed.size(); ++n) {
      std::vector<policy::WeighedGuest> weighed;
      for (const auto i : homed[n])
        weighed.push_back({guests[i].demand, plan_.entitlements[i], guests[i].used, plan_.owed[i], guests[i].behind});
      const auto weights = policy::plan_thread_weights(weighed, snapshot_.nodes[n].processors, seconds());
      for (std::size_t k = 0; k < weights.size(); ++k) {
        guests[homed[n][k]].nice = weights[k].nice;
        guests[homed[n][k]].behind = weights[k].behind;
      }
    }
  }

  // Rounds: everybody gets an equal part for each thread, by weight, until all have what they want or nothing is left.
  static void divide(double left, std::vector<SimGuest*>& waiting) {
    for (SimGuest* guest : waiting) guest->used = 0;
    while (left > 1e-9 && !waiting.empty()) {
      const auto weight = [](const SimGuest* guest) { return guest->threads * policy::weight_of_nice(guest->nice); };
      double weights = 0;
      for (const SimGuest* guest : waiting) weights += weight(guest);
      const double each = left / weights;
      std::vector<SimGuest*> still;
      for (SimGuest* guest : waiting) {
        const double given = std::min(each * weight(guest), guest->demand - guest->used);
        guest->used += given;
        left -= given;
        if (guest->demand - guest->used > 1e-9) still.push_back(guest);
      }
      if (still.size() == waiting.size()) break;
      waiting = std::move(still);
    }
  }

  void migrate() {
    for (auto& g : snapshot_.guests) {
      const auto home = static_cast<std::size_t>(g.home);
      std::uint64_t remote = g.resident - g.by_node[home];
      if (remote == 0) continue;
      auto& destination = snapshot_.nodes[home];
      policy::MigrationSnapshot s;
      s.now = now - period;
      s.rehomed = g.last_move;
      s.period = period;
      s.resident = g.resident;
      s.remote = remote;
      s.destination_free = destination.free;
      s.destination_memory = destination.memory;
      auto bytes = static_cast<std::uint64_t>(
          static_cast<double>(policy::plan_migration_rate(s).bytes_per_second) * seconds() + 0.5);
      for (std::size_t n = 0; n < g.by_node.size(); ++n) {
        if (n == home) continue;
        const std::uint64_t taken = std::min({bytes, g.by_node[n], destination.free});
        g.by_node[n] -= taken;
        snapshot_.nodes[n].free += taken;
        g.by_node[home] += taken;
        destination.free -= taken;
        bytes -= taken;
      }
    }
  }

  void make(const policy::RebalanceMove& move) {
    SimGuest& guest = guests[move.guest];
    auto& g = snapshot_.guests[move.guest];
    EXPECT_EQ(guest.home, move.from) << move.reason;
    if (g.last_move) {
      EXPECT_GE(now - *g.last_move, options.cool_down) << move.reason;
    }
    guest.home = g.home = move.to;
    guest.behind = 0;
    g.came_from = move.from;
    g.last_move = now;
    ++guest.moves;
    ++moves;
  }

  policy::RebalanceSnapshot snapshot_;
  policy::RebalancePlan plan_;
};

}  // namespace vmm::sim
