// Sole ownership: after a fork() parent and child share the pages that were in memory, and the kernel does not let a
// page that is, or was, shared be moved (UFFDIO_MOVE: EBUSY) until it is written to. The host could take nothing of the
// program's memory then. So, when memory gets short, all pages are made the program's own, as a write would, without
// changing them: a copy where the child still has it, and nothing but a fault where it is gone.
// Thread-safety: any thread.
#pragma once

namespace vmm::run {

// After a fork, in the parent. Begins a thread (vmm-fork) that waits until memory is short. Does not wait.
void become_sole_owner_when_needed() noexcept;

}  // namespace vmm::run
