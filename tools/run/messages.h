// What the library tells the user of the program: lines on the standard error that the program was started with, each
// kind once. A program that has put something else in its place since gets none.
// Thread-safety: any thread. Allocates nothing.
#pragma once

#include <cstdint>

namespace vmm::run {

enum class Limit : std::uint8_t {
  map_over_guest,    // MAP_FIXED, or a target of mremap, in guest memory
  move_from_guest,   // mremap with MREMAP_FIXED or MREMAP_DONTUNMAP of guest memory
  protect_refused,   // mprotect of guest memory that cannot be pinned
  lock_refused,      // mlock of guest memory that cannot be pinned
  lock_all,          // mlockall
  wipe_in_children,  // madvise(MADV_WIPEONFORK) of guest memory
  full,              // the guest is full: malloc or mmap gives nothing
  descriptor,        // close() or dup2() of a descriptor of this library
  child_goes_on,     // a child of fork() that is there to stay
  child_page_gone,   // of which a page cannot be had any more
  child_unserved,    // for which no pages can be brought
  fork_refused,      // no child can be had
  kCount
};

// Before anything of the program runs.
void keep_standard_error() noexcept;

// "vmmctl run: <text>", once for each `what`, over all processes that come of this one by fork().
void say_once(Limit what, const char* text) noexcept;
// Always.
void say(const char* text) noexcept;
// And ends the process with 125, as programs that run others do where they fail themselves.
[[noreturn]] void fail_at_start(const char* text) noexcept;

}  // namespace vmm::run
