// Shown frames: puts frames of a store in the places of a guest's pages, and takes them out again, with nothing in
// between that a reader could see and no write that is lost.
//
// In: a part of a private mapping of all frames, for which is set what is set for the guest's memory, is copied over
// the places, which are empty: whoever waits there for a page finds the frame's. From then on reads are shared. What is
// written the kernel copies first, into a page of the guest's own in the same place ("broken"). Out: write protection
// fences writers off while all that the guest reads there, of frames and of its own, is copied into staging; then an
// empty mapping, registered already, is moved over. Those pages are isolated then, like any other.
//
// What writes into a broken page without a thread's access to it (a device, process_vm_writev) is not held off by the
// fence: it has to be told of by Guest::pin, and who pins pages has them hidden first. Where userfaultfd serves user
// mode only, a system call that writes to a page just being hidden fails with EFAULT. The other ways that there are of
// taking frames out show zeros or old bytes for a moment (docs/sharing.md).
// Thread-safety: stateless but for its descriptor; the worker of the guest, while it is attached there and a fault
// thread answers the guest, for which hide() and drop() wait. The guest's home does not change while frames are shown:
// a policy set for them would be their file's.
#pragma once

#include <cstdint>
#include <utility>

#include "os/userfaultfd.h"
#include "region/guest_memory.h"
#include "sharing/frame_store.h"
#include "vmm/result.h"

namespace vmm::sharing {

class ShownFrames {
 public:
  // Errors: as os::Userfaultfd::open; EINVAL where the kernel cannot write-protect mappings of files (Linux < 5.19).
  static Result<ShownFrames> create();

  // Pages [first, first + run.count) of the guest show the run from now on. REQUIRES: the caller has locked their
  // words; they are isolated, and what is staged of them are the bytes of the frames. Words, staging, references and
  // charge are the caller's business. An errno of mremap, and then nothing has changed: ENOMEM (vm.max_map_count).
  static int show(region::GuestMemory& guest, std::uint64_t first, const FrameStore& store, FrameRun run) noexcept;

  // What the guest reads in pages [first, first + count) is in staging, and their places are empty: as isolated pages.
  // REQUIRES: the caller has locked their words; they are shared; their staging is empty; count <= region::kMostTaken.
  // An errno, and then they are as they were.
  int hide(region::GuestMemory& guest, std::uint64_t first, std::uint64_t count) const;

  // As hide(), but what they hold is given up: as pages that are empty.
  int drop(region::GuestMemory& guest, std::uint64_t first, std::uint64_t count) const;

 private:
  explicit ShownFrames(os::Userfaultfd fence) noexcept : fence_(std::move(fence)) {}
  int take_out(region::GuestMemory& guest, std::uint64_t first, std::uint64_t count, bool keep) const;

  os::Userfaultfd fence_;  // nobody reads it: who is held off waits until it is woken
};

}  // namespace vmm::sharing
