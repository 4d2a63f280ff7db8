// move_run: UFFDIO_MOVE that says truly how many pages have moved.
//
// Linux 6.18 moves pages in batches and forgets to clear an EAGAIN of its own: when a page table entry changes under
// the call (the processor notes an access, the kernel swaps), it moves the batch at the second try, does not count it,
// tries it a third time and reports EEXIST, although all has moved. Who believes that leaves the bytes where nobody
// looks for them, and answers the next fault with zeros. So where the call ends with an error, the page tables decide.
// Thread-safety: any thread, fault threads included; allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/pagemap.h"
#include "os/userfaultfd.h"

namespace vmm::region {

// Moves `bytes` (at most a huge page) to `to`, a range that `uffd` is registered for, and wakes who waits there.
// REQUIRES: nobody else moves, fills or drops these pages (the caller has locked their words).
// `bytes` of the result have moved; `error` stopped it there, 0 = all.
os::Progress move_run(const os::Userfaultfd& uffd, const os::Pagemap& pagemap, std::byte* to, std::byte* from,
                      std::uint64_t bytes) noexcept;

}  // namespace vmm::region
