// Which processors a thread may run on, and how much processor time it has used.
// Thread-safety: every function may be called from any thread; those that return a Result allocate.
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/result.h"

namespace vmm::os {

// Kernel id of the calling thread.
int current_tid() noexcept;
// Lets others run that want this processor.
void yield_processor() noexcept;
// The processor that the calling thread runs on at this moment; -1: the kernel does not tell.
int current_processor() noexcept;
// Moves the calling thread to another of the processors that it may run on, the kernel chooses which, where the
// scheduler then keeps it while it has no reason not to. It may still run wherever it could when this was called.
// Nothing where there is no other, or on machines of more than 1,024 processors.
void leave_processor(int processor) noexcept;

// Processors that thread `tid` (0 = the calling thread) may run on, ascending. Machines with any number of
// processors. Errors: ESRCH (no such thread), EPERM.
Result<std::vector<int>> thread_affinity(int tid);

// Lets thread `tid` (0 = the calling thread) run on `cpus` only; it is on one of them when this returns.
// Errors: EINVAL (empty, negative, or none of them allowed by the cpuset), ESRCH, EPERM. On error nothing changed.
Result<void> set_thread_affinity(int tid, const std::vector<int>& cpus);

// Processor time, in nanoseconds, that thread `tid` (0 = the calling thread) of this process has used.
// Errors: ESRCH (no such thread in this process).
Result<std::uint64_t> thread_cpu_ns(int tid);

// Time, in nanoseconds, that thread `tid` of this process was ready to run and waited for a processor, since its start.
// Errors: ENOENT (no such thread in this process, or a kernel without CONFIG_SCHED_INFO), EBADMSG, any errno of
// reading.
Result<std::uint64_t> thread_wait_ns(int tid);

}  // namespace vmm::os
