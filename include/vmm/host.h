// Host: the memory budget, the nodes, and the threads that keep the guests within it.
//
// Threads of a Host, all named and with every signal blocked: vmm-sched (scheduler and budget watch), vmm-events (calls
// on_event), vmm-home (on several nodes: gives guests their new homes), and per NUMA node vmm-fault/N (answers page
// faults), vmm-place/N (helps it to copy what was read ahead) and vmm-work/N (reclaims, and moves memory to its home);
// without io_uring also vmm-read/N and vmm-write/N. Per guest with a balloon driver, vmm-balloon (calls it). With
// HostOptions::stats_socket, vmm-stats (answers those who ask) and, from the first verb on, vmm-control (does it).
// Thread-safety: as for Guest. Destroying the Host ends its guests: their memory is unmapped and their
// handles become inert. Calls in a child of fork() return Errc::forked_child.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "vmm/capabilities.h"
#include "vmm/event.h"
#include "vmm/export.h"
#include "vmm/guest.h"
#include "vmm/options.h"
#include "vmm/pool.h"
#include "vmm/result.h"
#include "vmm/stats.h"

namespace vmm {

class HostCore;

// A handle of a host. Move-only.
class VMM_API Host {
 public:
  // Errors: EINVAL naming the option, its value and the remedy; ENOMEM; ENOTDIR, EACCES, EROFS for the
  // swap directory; Errc::not_supported for a forced option the kernel lacks; EPERM for
  // cpu_weights; EAGAIN (limits on threads).
  static Result<Host> create(const HostOptions& options);

  Host() noexcept;
  Host(Host&&) noexcept;
  Host& operator=(Host&&) noexcept;
  ~Host();

  // Maps the guest's memory on its home node and makes its swap file (memory - reservation bytes, and
  // 2 MiB more where it is reserved up to its limit or belongs to a pool).
  // Errors: EINVAL naming the option; Errc::admission_refused (reservations exceed the budget, or no node can hold it);
  // Errc::not_supported (a limit, without userfaultfd); ENOSPC, EFBIG, EACCES, EROFS (swap file); ENODEV; ENOMEM.
  Result<Guest> create_guest(const GuestOptions& options);

  // Makes the pool `path`, whose parent exists. Errors: EINVAL naming the field (also: the pool exists, its parent does
  // not); Errc::admission_refused saying what is missing and where; Errc::not_supported (a limit, without userfaultfd).
  Result<void> create_pool(const std::string& path, const PoolOptions& options);
  // Changes what is named; all of it or, on error, nothing. Not for the root. Errors: as create_pool.
  Result<void> configure_pool(const std::string& path, const PoolChange& change);
  // Errors: EINVAL (no such pool, the root, or it has guests or pools).
  Result<void> remove_pool(const std::string& path);

  // Changes what is named. All of it or, on error, nothing. Errors: EINVAL naming the field; Errc::admission_refused
  // (`memory` is less than what is reserved).
  Result<void> configure(const HostChange& change);

  // Called for every event, on a thread of its own (with Scheduler::manual: in tick()). The callback may use guests
  // and hosts, end guests, and block: later events then wait, the oldest beyond 4,096 are dropped, nothing else is
  // delayed; events that wait when the host ends are dropped. It may not end a host or throw. Replaces the former
  // callback, and returns when the former is no longer running; not to be called from inside the callback.
  // Errors: Errc::inert_handle, Errc::forked_child, EAGAIN (no thread can be had).
  Result<void> on_event(std::function<void(const Event&)> callback);

  // One step of the scheduler at time `now` (CLOCK_MONOTONIC, or ahead of it: the host's time is that from now on, and
  // runs on by itself; a time that has passed already counts as the present). Only with Scheduler::manual, and at most
  // a century ahead, else EINVAL.
  Result<void> tick(std::chrono::nanoseconds now);

  // Looks once at all pages of all guests that share, at full speed, and shares what is equal. Guests that are native
  // are managed from now on. Blocks; guests go on meanwhile.
  // Errors: EINVAL (HostOptions::share_scan_ghz is 0), Errc::inert_handle, Errc::forked_child, those of managing a
  // guest.
  Result<ShareReport> share_now();
  // Looks once at all pages of all guests that may share, at full speed, and tells what that could save, as their salts
  // are and were they all of one. Shares nothing. Takes 16 bytes a page while it runs. Native guests, threads and
  // errors as share_now().
  Result<ShareEstimate> estimate_sharing();

  // Cheap: takes no lock of the fault path and makes no system call. Errors: as Guest::stats().
  Result<HostStats> stats() const;
  // The events numbered `since` and up, of the last 4,096; `lost` of them are no longer kept. Kept whether there is a
  // callback or not. Where `since` is more than the `next` that comes back, it was another host's.
  // Errors: as stats().
  Result<EventLedger> events(std::uint64_t since = 0) const;
  // What probe() found when the host was created; nothing for an inert handle.
  const Capabilities& capabilities() const noexcept;

  explicit operator bool() const noexcept { return core_ != nullptr; }

 private:
  explicit Host(std::shared_ptr<HostCore> core) noexcept;
  std::shared_ptr<HostCore> core_;
};

}  // namespace vmm
