// A thread's seat: what attach_current_thread did to a thread, and how it is undone.
// Thread-safety: release() may be called from any thread, once or more.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/mutex.h"
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
  std::vector<int> old_affinity;    // empty: the affinity was not changed
  bool counted = false;             // in the guest's overhead; protected by its list of seats

  void release() noexcept;
  // Processor time the thread has used since it attached, in ns; 0 when it has ended.
  std::uint64_t cpu_ns() const noexcept;
};

}  // namespace vmm
