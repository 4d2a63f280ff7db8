// What a host and a guest are made with. Every field has its default here; sources are the public
// vSphere resource-management manuals (4.0, 6.7) where a figure is ESX's, else this project's measurements.
// Thread-safety: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "vmm/units.h"

namespace vmm {

// Who drives the scheduler: a thread of the library, or the caller through Host::tick().
enum class Scheduler { automatic, manual };

// How a page is taken out of a guest. `automatic` takes `move` where the kernel has it.
enum class Isolation {
  automatic,
  move,           // UFFDIO_MOVE, Linux >= 6.8: atomic, copies nothing, refuses pages pinned by devices
  write_protect,  // write-protect, copy, drop: Linux >= 5.14; devices must be announced by Guest::pin
};

// How swap files are read and written. `automatic` takes io_uring where it is allowed.
enum class SwapIo { automatic, io_uring, threads };

// When a guest is registered with userfaultfd.
enum class Management {
  automatic,    // on_demand where the budget can be kept that way, else at_creation
  on_demand,    // it runs natively while the host has room. Guests that together are larger than a small budget (2 GiB
                // on 2 processors, 16 GiB on 16 or more) may outgrow it before they are managed
  at_creation,
};

// What attach_current_thread does with the thread.
enum class Attach { bind, measure_only };

struct HostOptions {
  // Memory all guests together may consume, in bytes, metadata and buffers included.
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
  // Time between two looks of the home-node scheduler (ESX, 2 s).
  std::chrono::milliseconds rebalance_period = std::chrono::seconds(2);
  // A fault thread that makes no progress on one fault for this long is reported by an event.
  std::chrono::milliseconds watchdog_timeout = std::chrono::seconds(10);
  Scheduler scheduler = Scheduler::automatic;
  Isolation isolation = Isolation::automatic;
  SwapIo swap_io = SwapIo::automatic;
  Management management = Management::automatic;
};

struct GuestOptions {
  // Shown in events, statistics and errors. Not empty, unique within the host, no '/'.
  std::string name;
  // Size of the guest, in bytes: a multiple of kPageSize, greater than 0.
  std::uint64_t memory = 0;
  // Memory that is never reclaimed from the guest, in bytes; at most `memory`.
  std::uint64_t reservation = 0;
  // Most memory the guest may hold, in bytes, pinned memory included; 0 = no limit. A guest with a limit below its
  // size is managed from its creation. Reserved up to it, its swap file is 2 MiB larger than memory - reservation.
  std::uint64_t limit = 0;
  // Directory of this guest's swap file; empty = the host's.
  std::string swap_directory;
  // Nodes the guest may live on; empty = every node with processors and memory.
  std::vector<int> node_affinity;
  // Take memory from the home node only (MPOL_BIND). The kernel kills the process when that node is full;
  // the default prefers the home node and falls back to others.
  bool bind_memory = false;
  // Ask for 2 MiB pages (madvise MADV_HUGEPAGE); false forbids them for this guest.
  bool large_pages = true;
  // Leave guest memory in core dumps (otherwise MADV_DONTDUMP).
  bool core_dump = false;
};

}  // namespace vmm
