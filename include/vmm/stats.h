// Figures of a host and its guests: plain structs, bytes and nanoseconds.
// Thread-safety: plain values, taken at one moment by Host::stats() and Guest::stats().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "vmm/export.h"

namespace vmm {

// How short memory is, from HostOptions::memory_ladder.
enum class MemoryState {
  high,   // nothing is reclaimed but what guests hold above their limits; balloons begin as soft comes near
  clear,  // sliding ladder only: as soft, until sharing large pages in parts can give what is missing
  soft,   // balloons; guests without one are swapped
  hard,   // guests are swapped, whether they have a balloon or not
  low,    // and those above their targets stop at their next fault
};
// The enumerator's name.
VMM_API const char* to_string(MemoryState state) noexcept;

// Distribution of a duration, from a histogram with a resolution of about 6 %.
struct LatencySummary {
  std::uint64_t count = 0;   // how many there were
  std::uint64_t sum_ns = 0;  // all of them together
  std::uint64_t p50_ns = 0;  // half of them took at most this
  std::uint64_t p99_ns = 0;  // 99 of 100
  std::uint64_t max_ns = 0;  // the longest
};

// The same by how long they took: what two looks differ by is the distribution of the time between them.
struct LatencyHistogram {
  static constexpr std::size_t kBuckets = 25;  // how many there are
  // The longest that falls into a bucket: powers of two from 1 us to 8.6 s, less one; the last one has all that is
  // longer.
  static constexpr std::uint64_t up_to_ns(std::size_t bucket) noexcept {
    return bucket + 1 < kBuckets ? (std::uint64_t{1024} << bucket) - 1 : ~std::uint64_t{0};
  }
  std::array<std::uint64_t, kBuckets> counts{};  // how many fell into each
  std::uint64_t count = 0;                       // into all of them
  std::uint64_t sum_ns = 0;                      // all of them together
};

// Figures of one guest.
struct GuestStats {
  std::string name;      // GuestOptions::name
  std::uint64_t id = 0;  // by which guests of one name are told apart: the host gives each a greater one
  // Bytes.
  std::uint64_t memory = 0;       // size of the guest
  std::uint64_t reservation = 0;  // never reclaimed
  std::uint64_t limit = 0;        // most it may hold; 0 = none
  std::uint64_t resident = 0;     // in memory: in place or in staging; zero pages filled ahead included
  std::uint64_t granted = 0;      // resident + shared: its pages that hold something and are not in the swap file
  std::uint64_t staging = 0;      // part of `resident` that is isolated and not yet written
  std::uint64_t swapped = 0;      // only in the swap file
  std::uint64_t swap_target = 0;  // what is to be only there for the guest to come down to its target, beside what its
                                  // balloon is to take
  std::uint64_t lost = 0;         // unreadable in the swap file
  std::uint64_t ballooned = 0;    // given up by its balloon driver and not touched since
  std::uint64_t balloon_target = 0;  // what the host would have it give up
  std::uint64_t balloon_max = 0;     // most that it may give up; 0 = no balloon
  std::uint64_t target = 0;       // memory it is to have, overhead included; below `memory` while memory is short
  std::uint64_t overhead = 0;     // tables and seats of this guest, and what the kernel's page tables for it take
  std::uint64_t active = 0;       // estimate of the memory in use; the guest's size until it was sampled
  std::uint64_t active_error = 0; // standard error of the last sample
  std::uint64_t pinned = 0;       // stays in place for a Pin
  std::uint64_t shared = 0;         // shows a copy that others show, too, or zeros; not part of `resident`
  std::uint64_t shared_zero = 0;    // of it: held nothing but zeros, and takes no memory
  std::uint64_t shared_common = 0;  // its part of those copies, each divided among all pages that show it: as of the
                                    // last look at all of the guest, as is what follows
  std::uint64_t shared_saved = 0;   // shared - shared_common = shared_zero and the following two
  std::uint64_t shared_within = 0;  // saved by what is equal within the guest
  std::uint64_t shared_between = 0; // saved by what other guests hold, too
  std::uint64_t share_candidates = 0;  // looked at, and equal to no other page that is known
  std::uint64_t share_waiting = 0;     // not yet come to by the look that is under way: the rates permit no more
  // Since creation; bytes of pages.
  std::uint64_t share_scanned = 0;   // looked at
  std::uint64_t share_made = 0;      // made to show a copy
  std::uint64_t share_zero = 0;      // dropped, for they held nothing but zeros
  std::uint64_t share_broken = 0;    // written since they were shared, as found by a later look
  std::uint64_t share_changing = 0;  // not shared: they changed before they were compared, or only their hash was equal
  std::uint64_t share_pinned = 0;    // not looked at
  std::uint64_t share_huge = 0;      // not shared: parts of huge pages, while memory is not short
  std::uint64_t share_refused = 0;   // not shared for one of the following reasons
  std::uint64_t share_no_mapping = 0;  // mappings are kept for longer runs, or there are none (vm.max_map_count)
  std::uint64_t share_no_memory = 0;   // no memory for the copy
  std::uint64_t share_busy = 0;        // the kernel keeps the page: a device has it
  std::uint64_t share_cpu_ns = 0;      // processor time that all this took
  std::uint64_t swap_file = 0;    // size of the swap file
  std::uint64_t swapped_out = 0;  // since creation: pages that left memory (written, or clean with a kept slot)
  std::uint64_t swap_written = 0; // since creation: bytes written to the swap file
  std::uint64_t swapped_in = 0;   // since creation: read from the swap file and put in place
  std::uint64_t metadata = 0;     // page table, slot table, run marks of this guest
  std::uint64_t ballooned_out = 0;   // since creation: resident pages that a balloon driver gave up
  std::uint64_t balloon_popped = 0;  // since creation: ballooned pages that were touched
  std::uint64_t balloon_refused = 0; // since creation: given by the driver and not accepted
  // Counts since creation.
  std::uint64_t faults = 0;
  std::uint64_t fills = 0;        // faults answered with zeros, on pages that no balloon had
  std::uint64_t balloon_pops = 0; // faults answered with zeros, on ballooned pages
  std::uint64_t rescues = 0;      // faults answered from staging
  std::uint64_t swap_ins = 0;     // faults answered from the swap file
  std::uint64_t swap_errors = 0;  // failed reads and writes of the swap file
  std::uint64_t stalls = 0;       // faults that had to wait for free memory
  std::uint64_t busy_pages = 0;   // pages that could not be isolated: pinned by a device, or shared by the kernel
  std::uint64_t rejected_faults = 0;  // pages that were answered with an error because their bytes are lost
  std::uint64_t balloon_late = 0;   // answers of the balloon driver that came after balloon_timeout
  std::uint64_t samples = 0;        // periods in which its memory in use was sampled; 0 = not yet, memory is plentiful
  std::uint64_t sample_faults = 0;  // faults that the guest took because a page was watched
  std::uint64_t sample_wait_ns = 0; // what they took together
  std::uint64_t stops = 0;          // times the guest was stopped in state low
  std::uint64_t stopped_ns = 0;     // for how long together
  // From the event to the answer.
  LatencySummary fault_latency;  // the four kinds below together
  LatencySummary fill_latency;     // answered with zeros, on pages that no balloon had
  LatencySummary pop_latency;      // answered with zeros, on ballooned pages
  LatencySummary rescue_latency;   // answered from staging
  LatencySummary swap_in_latency;  // answered from the swap file
  LatencySummary stop_latency;  // of it, how long faults waited because the guest was stopped; each counts as one
  int home_node = -1;            // as the kernel numbers nodes
  std::uint64_t migrations = 0;  // times it was given another home
  // Bytes. Of `resident` on the home node and on others: an estimate from some hundred pages, once a rebalance period.
  std::uint64_t local = 0;
  std::uint64_t remote = 0;      // on others
  std::uint64_t migrated = 0;  // since creation: moved to a new home
  // Stayed where they were in the last pass over the guest, and are tried again, at growing intervals:
  std::uint64_t migration_pinned = 0;     // by a Pin or a device
  std::uint64_t migration_no_memory = 0;  // the home node was full
  std::uint64_t migration_refused = 0;    // by the kernel
  std::uint64_t migration_rate = 0;  // bytes a second, that remote memory is moved at now
  int thread_nice = 0;               // HostOptions::cpu_weights: greatest nice value of its threads above their own
  unsigned attached_threads = 0;     // that have a seat
  // CPU time used by the threads now attached, since they attached. Host::stats(): as the scheduler last looked, at
  // most HostOptions::rebalance_period ago.
  std::uint64_t attached_cpu_ns = 0;
  bool managed = false;               // registered with userfaultfd
  std::string pool;                   // GuestOptions::pool
  std::uint64_t shares = 0;           // as a number
  double sampled = 0;                 // fraction of its pages in use, in the last whole period
  bool stopped = false;               // state low, and the guest above its target
  bool balloon_distrusted = false;    // its balloon driver is not asked for a while
  bool swap_failed = false;           // writes to the swap file fail; retried after swap_retry_timeout
};

// Figures of one pool.
struct PoolStats {
  std::string name;          // its path
  std::uint64_t shares = 0;  // as a number
  // Bytes.
  std::uint64_t reservation = 0;  // guaranteed to its guests together
  std::uint64_t reserved = 0;  // by its guests and pools; may be more than the reservation if that is expandable
  std::uint64_t limit = 0;     // 0 = none
  std::uint64_t consumed = 0;  // by its guests, overhead included
  bool expandable_reservation = true;  // its guests may reserve more, from what the parent has
};

// A node that can be a home.
struct NodeStats {
  int id = -1;                  // as the kernel numbers it
  unsigned processors = 0;      // that this process may use
  unsigned guests = 0;          // homed there
  // What they are entitled to and want of its processors: 1 = all of them. 0 where there is one node, and no
  // cpu_weights: nobody looks.
  double load = 0;
  // Bytes.
  std::uint64_t memory = 0;
  std::uint64_t free = 0;       // that nobody uses, of the whole machine's; as the scheduler last looked
  std::uint64_t promised = 0;   // sizes of the guests homed there, or limits where less
};

// Figures of a host, its pools, nodes and guests.
struct HostStats {
  std::uint64_t time_ns = 0;       // when they were taken: the host's time, as in Event
  std::uint64_t wall_time_ms = 0;  // the same since 1970 began, by the system's clock
  // Bytes.
  std::uint64_t memory = 0;    // the budget
  std::uint64_t consumed = 0;  // guests' resident memory + the copies that sharing shows + overhead
  std::uint64_t withheld = 0;  // part of the budget that cannot be had now: the process's control group has less
  std::uint64_t free = 0;      // memory - withheld - consumed, at least 0
  std::uint64_t overhead = 0;  // metadata and buffers of the library, and at most what the kernel's page tables take
  std::uint64_t reserved = 0;  // sum of the guests' reservations
  // Sums of the guests':
  std::uint64_t swapped = 0;         // only in the swap files
  std::uint64_t ballooned = 0;       // given up by balloon drivers and not touched since
  std::uint64_t shared = 0;          // pages that show a copy that others show, too, or zeros
  std::uint64_t shared_zero = 0;     // of it: zeros
  std::uint64_t shared_common = 0;   // the guests' parts of the copies
  std::uint64_t shared_saved = 0;    // shared - shared_common
  std::uint64_t shared_within = 0;   // saved by what is equal within a guest
  std::uint64_t shared_between = 0;  // saved by what is equal between guests
  std::uint64_t share_cpu_ns = 0;     // of the guests there are
  double share_saved_per_second = 0;  // shared_saved by second of that processor time; 0: none was spent
  std::uint64_t share_frames = 0;     // the copies that are shown, now; part of `consumed`
  std::uint64_t min_free = 0;  // below this much free memory the state is no longer high
  MemoryState state = MemoryState::high;  // how short memory is
  std::vector<PoolStats> pools;    // the root first
  std::vector<GuestStats> guests;  // in the order of their creation
  std::vector<int> nodes;          // node ids as the kernel numbers them
  std::vector<NodeStats> homes;    // as nodes
  // Since the host's creation, of all guests, those that have ended included; from the event to the answer:
  LatencyHistogram fill_latency;     // answered with zeros, on pages that no balloon had
  LatencyHistogram pop_latency;      // answered with zeros, on ballooned pages
  LatencyHistogram rescue_latency;   // answered from staging
  LatencyHistogram swap_in_latency;  // answered from the swap file
  LatencyHistogram stop_latency;  // of it, how long faults waited because their guest was stopped; each counts as one
  std::string capability_level;    // "full", "baseline" ...
  std::string swap_io;             // "io_uring" or "threads"
};

// What Host::share_now() has done. Bytes of pages.
struct ShareReport {
  std::uint64_t scanned = 0;   // looked at
  std::uint64_t shared = 0;    // made to show a copy
  std::uint64_t zero = 0;      // dropped, for they held nothing but zeros
  std::uint64_t broken = 0;    // found to have been written since they were shared
  std::uint64_t saved = 0;     // HostStats::shared_saved afterwards
  std::uint64_t cpu_ns = 0;    // processor time that it took
};

// What sharing could save, as Host::estimate_sharing() finds. Bytes of pages; of the guests of each home by themselves,
// for those of two homes share nothing.
struct ShareEstimate {
  // Guests of equal salt; one that has none of its own is a group alone, and named by the guest.
  struct Group {
    std::string salt;          // GuestOptions::share_salt, or the guest's name
    std::uint64_t guests = 0;  // how many
    std::uint64_t looked = 0;  // pages in memory
    std::uint64_t zero = 0;    // hold nothing but zeros
    std::uint64_t saved = 0;   // zero, and pages equal to another of the group
  };
  std::vector<Group> groups;  // one for each salt
  // Sums:
  std::uint64_t looked = 0;
  std::uint64_t zero = 0;   // hold nothing but zeros
  std::uint64_t saved = 0;  // as salts are
  std::uint64_t saved_in_one_group = 0;  // what would be saved if all guests were of one salt
};

}  // namespace vmm
