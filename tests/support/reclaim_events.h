// What events tell of reclaim, held against what the library has counted: every page that left memory is told, with its
// guest, amount, mechanism and reason.
// Thread-safety: one thread; the guests' hosts live.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "stress/peek.h"
#include "support/kernel_view.h"
#include "vmm/vmm.h"

namespace vmm::test {

// What is wrong with one of the `reclaimed` events; empty: nothing. Guests are known by the events of their creation.
inline std::string wrong_in_reclaim(const std::vector<Event>& events) {
  std::set<std::string> known;
  for (const auto& e : events) {
    if (e.kind == EventKind::guest_created) known.insert(e.guest);
    if (e.kind != EventKind::reclaimed) continue;
    const auto text = "guest \"" + e.guest + "\", " + std::to_string(e.bytes) + " bytes, mechanism \"" + e.mechanism +
                      "\", reason \"" + e.reason + "\"";
    if (!known.contains(e.guest)) return "of no guest: " + text;
    if (e.bytes == 0 || e.bytes % kPageSize != 0) return "no pages: " + text;
    if (e.mechanism != "swap" && e.mechanism != "balloon") return "by no mechanism: " + text;
    if (e.reason.empty()) return "without a reason: " + text;
  }
  return {};
}

// Bytes that left memory, by mechanism.
struct Reclaimed {
  std::uint64_t swap = 0, balloon = 0;
  bool operator==(const Reclaimed&) const = default;
};
inline void PrintTo(const Reclaimed& r, std::ostream* out) {
  *out << r.swap << " by swap, " << r.balloon << " by balloon";
}

inline Reclaimed told_of(const std::vector<Event>& events, const std::string& guest) {
  Reclaimed sum;
  for (const auto& e : events)
    if (e.kind == EventKind::reclaimed && e.guest == guest) (e.mechanism == "swap" ? sum.swap : sum.balloon) += e.bytes;
  return sum;
}

// Pages of zeros that were dropped without a write included.
inline Reclaimed counted_of(const Guest& guest) {
  const auto& c = stress::memory_of(guest).counters;
  return {c.freed.load() * kPageSize, c.ballooned_out.load() * kPageSize};
}

// The guest's pages in memory by the kernel, in place and in staging. A page that moves between the two meanwhile may
// be missed or counted twice: of a few looks, the one in the middle is told.
inline std::uint64_t pages_in_memory(const Guest& guest) {
  const auto& m = stress::memory_of(guest);
  const auto look = [&] { return resident_pages(m.base(), m.pages()) + resident_pages(m.staged(0), m.pages()); };
  const auto a = look(), b = look(), c = look();
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}

}  // namespace vmm::test
