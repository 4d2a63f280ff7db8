// What a host and a guest are made with. Every field has its default here; sources are the public
// vSphere resource-management manuals (4.0, 6.7) where a figure is ESX's, else this project's measurements.
// Thread-safety: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/shares.h"
#include "vmm/units.h"

namespace vmm {

// Who drives the scheduler.
enum class Scheduler {
  automatic,  // a thread of the library
  manual,     // the caller, through Host::tick()
};

// How a page is taken out of a guest.
enum class Isolation {
  automatic,      // `move` where the kernel has it
  move,           // UFFDIO_MOVE, Linux >= 6.8: atomic, copies nothing, refuses pages pinned by devices
  write_protect,  // write-protect, copy, drop: Linux >= 5.14; devices must be announced by Guest::pin
};

// How swap files are read and written.
enum class SwapIo {
  automatic,  // io_uring where it is allowed
  io_uring,   // or Host::create() fails
  threads,    // pread and pwrite, by some threads of a node
};

// When a guest is registered with userfaultfd.
enum class Management {
  automatic,    // on_demand where the budget can be kept that way, else at_creation
  on_demand,    // it runs natively while the host has room. Guests that together are larger than a small budget (2 GiB
                // on 2 processors, 16 GiB on 16 or more) may outgrow it before they are managed
  at_creation,  // it never runs natively
};

// What attach_current_thread does with the thread.
enum class Attach {
  bind,          // it runs on the home node's processors, and its processor time is counted
  measure_only,  // its processor time is counted
};

// By how much free memory the state of the host is told, from which follows what is done.
enum class MemoryLadder {
  classic,  // soft below min_free, hard below 2/3 of it, low at 1/6 (ESX 4: 6, 4 and 1 %); low ends at 1/3
  sliding,  // min_free is taken from the size of the memory: 6 % of the first 4 GiB, 4 % of the next 8, 2 % of the next
            // 16, 1 % of the rest; clear below it, soft, hard and low below 64, 32 and 16 % of it (later ESX).
            // HostOptions::min_free then says nothing
};

// Which node becomes the home of a new guest, of those that can hold it.
enum class InitialPlacement {
  round_robin,        // in turn, by ascending number
  load_and_distance,  // the one with the least load of processors and memory, then the nearest to the others
};

// What a host is made with. Values that are not permitted are refused by Host::create().
struct HostOptions {
  // Memory all guests together may consume, in bytes, metadata and buffers included: at least 16 MiB, and on machines
  // of many nodes 4 MiB beside the buffers, which are about 4.2 MiB a node.
  // 0 = nine tenths of the machine's memory, or of what the process's control group has left.
  std::uint64_t memory = 0;
  // Directory of the guests' swap files; empty = $TMPDIR, else /var/tmp.
  std::string swap_directory;
  // The swap file has a name in the directory and stays after the guest ends (ESX SwapFilePersist, 0).
  bool swap_persist = false;
  // Most pages one swap-in reads (ESX SwapInBatchPages, 64). 1-64.
  std::uint32_t swap_in_batch_pages = 64;
  // Most swap writes in flight (ESX SwapAsyncWritePages, 20). 1-64.
  std::uint32_t swap_async_write_pages = 20;
  // Wait before a swap file that failed a write is written again (ESX SwapRetryTimeout, 300). At least
  // 10 ms are waited.
  std::chrono::milliseconds swap_retry_timeout = std::chrono::seconds(300);
  // Free share of `memory` below which guests are reclaimed from (ESX high/soft threshold, 6 %). 0-0.5.
  double min_free = 0.06;
  MemoryLadder memory_ladder = MemoryLadder::classic;  // how the state of memory is told
  // Longest time between two computations of the guests' targets (ESX BalancePeriod, 15 s). They are computed as well
  // when free memory has changed by 2 % of `memory`.
  std::chrono::milliseconds balance_period = std::chrono::seconds(15);
  // Part of the shares of idle memory that does not count (ESX IdleTax, 75 %). 0-0.99; 0 = shares alone.
  double idle_tax = 0.75;
  // Pages of each guest that are watched in a period to see how much of it is in use (ESX SamplePages, 100); 0 = none,
  // and guests count as wholly active. Sampling waits until less than a quarter of `memory` is free, for only then it
  // matters; GuestStats::samples tells the periods so far. Targets also heed what reclaim sees within seconds: a guest
  // that misses less of what is taken than others do counts as less active than its samples say.
  std::uint32_t sample_pages = 100;
  // Length of that period (ESX SamplePeriod, 60 s). At least 10 ms.
  std::chrono::milliseconds sample_period = std::chrono::seconds(60);
  // Most of a guest that its balloon may take, in percent of its memory (ESX CtlMaxPercent, 65). 0-95; 0 = no
  // ballooning anywhere.
  std::uint32_t balloon_max_percent = 65;
  // A balloon driver that has not answered after this time is not waited for.
  std::chrono::milliseconds balloon_timeout = std::chrono::seconds(1);
  // In state low, guests above their target stop at their next fault: for this long at most. 0 = they do not stop.
  std::chrono::milliseconds stop_timeout = std::chrono::seconds(1);
  InitialPlacement placement = InitialPlacement::round_robin;  // which node is a new guest's home
  // Time between two looks of the home-node scheduler (ESX, 2 s).
  std::chrono::milliseconds rebalance_period = std::chrono::seconds(2);
  // The scheduler gives guests other homes when load changes; false: only Guest::rehome() does. The load of a node is
  // that of the threads attached to the guests homed there. On a machine of one node it does nothing.
  bool rebalance = true;
  // Difference of load, relative to the mean, needed before a guest is moved (ESX, 10 %). 0-1.
  double rebalance_imbalance = 0.10;
  // What a move must lower it by at least (ESX, 2 %). 0-1.
  double rebalance_improvement = 0.02;
  // Two guests may change places where no single move helps (ESX, yes),
  bool rebalance_swap = true;
  // at most every so many periods (ESX, 3). At least 1.
  std::uint32_t rebalance_swap_interval = 3;
  // Periods between moves for long-term fairness (ESX, 5); 0: none.
  std::uint32_t rebalance_fairness_interval = 5;
  // How much a percentage point of memory that is on the destination already counts (ESX, 1); 0: not at all. 0-100.
  double rebalance_locality_weight = 1;
  // A guest that was moved stays for this long, Guest::rehome() excepted.
  std::chrono::milliseconds rebalance_cool_down = std::chrono::seconds(30);
  // Most guests that are moved in a period; a swap counts as two. 0: none.
  std::uint32_t rebalance_max_moves = 4;
  // Processors of a node are divided among the guests homed there by their shares, not equally among threads: bound
  // threads get nice values above their own, by up to 19 steps of a quarter, looked at every rebalance_period; so a
  // part of one in seventy is the least. They come after other threads of the same control group or session, and
  // threads and programs that they start begin with what they have then, as always in Linux. A thread has its own value
  // back when its seat is released; one that somebody else gives it meanwhile is taken for its own. Without this,
  // shares of processors act only by which guests sit together. Takes CAP_SYS_NICE, or a RLIMIT_NICE that lets threads
  // have their own values back: EPERM where this one would not; others are left as they are, and told by an event.
  bool cpu_weights = false;
  // Most MB/s (10^6 bytes) at which memory follows guests to their new homes, all guests together; 0: no bound but the
  // managed rate: slow at first, faster while a guest stays.
  double migration_rate_max = 0;
  // Equal pages of managed guests are found and show one copy (transparent page sharing): how fast pages are looked at,
  // in MB/s (10^6 bytes) for each GHz of the host's processors (ESX ShareScanGHz, 4); 0: pages are not shared. 0-1000.
  // Takes Linux >= 5.19. Guest memory that a device writes to is to be pinned then (Guest::pin), on every kernel. Who
  // shares can be told by the time of a first write: see GuestOptions::share_salt.
  double share_scan_ghz = 0;
  // In which time all of a guest is to be looked at, the two other bounds permitting (ESX ShareScanTime, 60 min). At
  // least 1 s.
  std::chrono::milliseconds share_scan_time = std::chrono::minutes(60);
  // Most pages a second that are looked at of each guest (ESX ShareRateMax, 1024). At least 1.
  std::uint32_t share_rate_max = 1024;
  // Guests may have 2 MiB pages (ESX Mem.AllocGuestLargePage, 1), unless GuestOptions::large_pages says otherwise;
  // false: none has. Small pages can be shared at once; parts of large ones only when memory is short.
  bool alloc_guest_large_page = true;
  // A fault thread that makes no progress on one fault for this long is reported by an event.
  std::chrono::milliseconds watchdog_timeout = std::chrono::seconds(10);
  // Absolute path of a Unix socket at which statistics and events can be read while the host lives, by HTTP: /metrics
  // (Prometheus), /stats.json, /stats.csv, /events.json (docs/statistics.md); empty: none. vmmctl finds those that end
  // in ".vmm". Only this user and root can use it (mode 0600). A socket at which nobody listens any more is replaced.
  std::string stats_socket = {};
  // Whoever can use it may also reclaim, restore, rehome, share and set, by POST /control/...
  bool stats_control = false;
  Scheduler scheduler = Scheduler::automatic;     // who drives the scheduler
  Isolation isolation = Isolation::automatic;     // how pages are taken out of a guest
  SwapIo swap_io = SwapIo::automatic;             // how swap files are read and written
  Management management = Management::automatic;  // when guests are registered with userfaultfd
};

// What a guest is made with. Values that are not permitted are refused by Host::create_guest().
struct GuestOptions {
  // Shown in events, statistics and errors. Not empty, unique within the host, at most 255 bytes, no '/'.
  std::string name;
  // Size of the guest, in bytes: a multiple of kPageSize, greater than 0.
  std::uint64_t memory = 0;
  // Memory that is never reclaimed from the guest, in bytes; at most `memory`.
  std::uint64_t reservation = 0;
  // Most memory the guest may hold, in bytes, pinned memory included; 0 = no limit. A guest with a limit below its
  // size is managed from its creation. Reserved up to it, its swap file is 2 MiB larger than memory - reservation.
  std::uint64_t limit = 0;
  // Claim to memory against other guests of its pool while memory is short.
  Shares shares = Shares::normal();
  // The pool it belongs to: "/" or one made with Host::create_pool.
  std::string pool = "/";
  // HostOptions::idle_tax for this guest alone.
  std::optional<double> idle_tax;
  // Most memory its balloon may take, in bytes; 0 = it is never ballooned. Without: HostOptions::balloon_max_percent.
  std::optional<std::uint64_t> balloon_max;
  // Directory of this guest's swap file; empty = the host's.
  std::string swap_directory;
  // Nodes the guest may live on; empty = every node with processors and memory.
  std::vector<int> node_affinity;
  // The home-node scheduler may give the guest another home; false: only rehome() does.
  bool rebalance = true;
  // Take memory from the home node only (MPOL_BIND). The kernel kills the process when that node is full;
  // the default prefers the home node and falls back to others. Such a guest is moved by rehome() only.
  bool bind_memory = false;
  // Ask for 2 MiB pages (madvise MADV_HUGEPAGE); false forbids them for this guest.
  bool large_pages = true;
  // Its pages may be shared (ESX sched.mem.pshare.enable, yes), if HostOptions::share_scan_ghz is not 0.
  bool page_sharing = true;
  // Guests of equal salt share with each other, and only those: whoever is in such a group can find out, by how long
  // its own first write to a page takes, whether another holds the same page. Empty: with itself alone.
  std::string share_salt;
  // Leave guest memory in core dumps (otherwise MADV_DONTDUMP).
  bool core_dump = false;
};

// What is to change of a guest that runs: what is not named stays. Fields as those of GuestOptions.
struct GuestChange {
  std::optional<Shares> shares{};
  std::optional<std::uint64_t> reservation{};
  std::optional<std::uint64_t> limit{};
  std::optional<std::string> pool{};
  std::optional<double> idle_tax{};
  std::optional<std::uint64_t> balloon_max{};
  // A guest whose home is not among them gets another at once.
  std::optional<std::vector<int>> node_affinity{};
  std::optional<bool> rebalance{};
};

// What is to change of a host that runs: what is not named stays. Fields as those of HostOptions.
struct HostChange {
  std::optional<std::uint64_t> memory{};
  std::optional<double> min_free{};
  std::optional<MemoryLadder> memory_ladder{};
  std::optional<std::chrono::milliseconds> balance_period{};
  std::optional<double> idle_tax{};
  std::optional<std::uint32_t> sample_pages{};
  std::optional<std::chrono::milliseconds> sample_period{};
  std::optional<std::uint32_t> balloon_max_percent{};
  std::optional<std::chrono::milliseconds> balloon_timeout{};
  std::optional<std::chrono::milliseconds> stop_timeout{};
  std::optional<bool> rebalance{};
  std::optional<double> migration_rate_max{};
  // Of a host that was created with share_scan_ghz above 0; with 0 nothing more is shared for now.
  std::optional<double> share_scan_ghz{};
  std::optional<std::chrono::milliseconds> share_scan_time{};
  std::optional<std::uint32_t> share_rate_max{};
};

}  // namespace vmm
