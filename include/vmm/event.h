// What the host did and to whom: every reclaim, refusal and failure, with its reason.
// Thread-safety: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "vmm/export.h"

namespace vmm {

// What has happened.
enum class EventKind {
  guest_created,      // reason says why its home node was chosen
  guest_destroyed,    // its memory is unmapped
  guest_managed,      // the guest is registered with userfaultfd from now on
  guest_native,       // the guest runs natively again
  guest_rehomed,      // another home node; `mechanism`: balance, swap, fairness, affinity, asked
  rehoming_failed,    // the guest stays where it is; the scheduler lets it be for rebalance_cool_down
  guest_migrated,     // its memory has followed it: `bytes` moved, `reason` says what stayed
  not_weighed,        // cpu_weights: a thread's nice value could not be set, or not be given back: it stays as it is
  reclaimed,          // `bytes` left memory; `mechanism` and `reason` say how and why
  state_changed,      // the host's memory state; `bytes` are free
  guest_stopped,      // in state low: the guest is above its target, its next fault waits
  stop_ended,         // a stopped guest goes on because stop_timeout has passed, though the state is low still
  balloon_distrusted, // the balloon driver hangs, throws, or frees nothing: it is not asked for a while
  memory_exhausted,   // faults wait: nothing more can be reclaimed
  swap_write_failed,  // pages stay in memory; retried after swap_retry_timeout
  swap_read_failed,   // one page is lost; its next reader gets SIGBUS
  swap_recovered,     // writes succeed again
  not_reclaimable,    // the kernel refuses to move the guest's pages (mlock, other protection)
  fault_stalled,      // a fault thread makes no progress
  budget_withheld,    // the process's control group has less room than the budget: guests are reclaimed from
  overcommit_advice,  // guests of more than 1.5 times the memory
  reservation_advice, // a guest reserves more memory than it uses
  limit_advice,       // a guest's limit is below the memory that it uses
};

// The enumerator's name.
VMM_API const char* to_string(EventKind kind) noexcept;

// One thing that has happened, to whom, and why.
struct Event {
  EventKind kind{};                 // what
  std::chrono::nanoseconds time{};  // CLOCK_MONOTONIC, or the host's injected clock
  std::string guest;                // name; empty = the host itself
  std::uint64_t bytes = 0;          // how much, where the kind says of what
  std::string mechanism;            // "swap", "placement", ...
  std::string reason;               // a sentence with figures
};

// An event in the host's ledger. Numbers begin with 1 and have no gaps.
struct EventRecord {
  std::uint64_t sequence = 0;  // its number
  Event event;                 // as the callback gets it
};

// What Host::events() returns: the oldest first.
struct EventLedger {
  std::vector<EventRecord> records;  // those that were asked for
  std::uint64_t next = 0;  // what to ask for next time
  std::uint64_t lost = 0;  // that were asked for, and are no longer kept
};

}  // namespace vmm
