// A thread's seat: what attach_current_thread did to a thread, and how it is undone.
// Thread-safety: release() and bind() may be called from any thread, once or more.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "topology/topology.h"
#include "vmm/guest.h"

namespace vmm {

class GuestCore;

namespace host {

// The calling thread as a seat sees it: still running, and whether it has a seat. Ends with the thread.
struct ThreadToken {
  base::Mutex mutex{base::LockRank::leaf};
  bool alive VMM_GUARDED_BY(mutex) = true;
  bool seated VMM_GUARDED_BY(mutex) = false;
};

std::shared_ptr<ThreadToken> current_thread_token();

}  // namespace host

struct Seat::Impl {
  std::shared_ptr<GuestCore> guest;
  std::shared_ptr<host::ThreadToken> thread;
  int tid = 0;
  std::uint64_t cpu_at_attach = 0;  // ns
  // Protected by the guest's list of seats.
  bool counted = false;             // in the guest's overhead
  std::uint64_t told_cpu = 0;       // ns, in the guest's sum of what its threads have used
  // The scheduler's, of the thread at its last look, in ns.
  std::uint64_t seen_cpu = 0, seen_wait = 0;
  // Changed under the thread's mutex.
  std::vector<int> own_affinity;    // that the thread came with; empty: it is measured only
  bool changed = false;             // it has another now
  std::optional<int> own_nice;      // that the thread had before it was weighed
  int nice = 0;                     // that it got last, if so
  bool unweighable = false;         // the kernel has refused to lower it, or would: it is left alone

  void release() noexcept;
  // Of the node's processors, those that the thread may run on.
  std::vector<int> cpus_on(const topology::Node& node) const;
  // There are some, or the thread has ended, or is measured only. Errors: EINVAL.
  Result<void> fits(const topology::Node& node) const;
  // Lets the thread run on those. Nothing for one that has ended, or is measured only. Errors: as fits(), errnos of
  // sched_setaffinity.
  Result<void> bind(const topology::Node& node);
  // As bind(); false: it could not be, or there was no memory.
  bool try_bind(const topology::Node& node) noexcept;
  // Adds to the nice value that the thread came with, or that somebody else has given it since; never above 19. Nothing
  // for one that has ended, or is measured only, or whose own value it could not get back. Errors, once a seat: EPERM
  // (that it could not), errnos of setpriority and Thread::start.
  Result<void> weigh(int more);
  // What it has been given so.
  int weighed() const noexcept;
  // The scheduler: how long the thread ran and waited to run since the last call, in ns; none of one that has ended.
  struct Times {
    std::uint64_t cpu = 0, wait = 0;
  };
  std::optional<Times> times_since_look();
  // Processor time the thread has used since it attached, in ns; 0 when it has ended.
  std::uint64_t cpu_ns() const noexcept;
};

}  // namespace vmm
