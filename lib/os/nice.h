// Nice values of threads: their weight before the kernel's scheduler (sched(7)). Linux has one for each thread.
// Thread-safety: every function may be called from any thread.
#pragma once

#include "vmm/result.h"

namespace vmm::os {

// Of thread `tid` (0 = the calling thread): -20 to 19. Errors: ESRCH (no such thread).
Result<int> thread_nice(int tid);

// Errors: ESRCH; EACCES, EPERM (a lower one than before takes CAP_SYS_NICE or RLIMIT_NICE); EINVAL (not -20 to 19).
Result<void> set_thread_nice(int tid, int nice);

// Whether this process may now give a thread that has the highest nice value this lower one: tried, on a thread of its
// own. Errors: as Thread::start.
Result<bool> can_lower_nice(int to);

}  // namespace vmm::os
