// ChildService: brings a child of fork() the pages that were not in memory at the fork, as it touches them; and all the
// others once it has lived for a while, before the parent writes over their slots.
// Thread-safety: begin_child_service() once, in the child, before anything of the program runs there; the others from
// any thread.
#pragma once

namespace vmm::run {

// Where all pages are there, nothing is begun. Where the child may not use userfaultfd, or have a thread, all pages are
// brought before this returns. A page that cannot be had any more is one whose touch is an error (SIGBUS), never zeros.
void begin_child_service() noexcept;

// Whether there are pages yet that a touch brings. In such a child pages may not be dropped, or moved.
bool child_service_runs() noexcept;
// Waits until all pages are there.
void end_child_service() noexcept;

}  // namespace vmm::run
