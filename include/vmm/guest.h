// Guest: one overcommitted memory region, and what its owner may do with it. Seat and Pin are what a
// guest hands out: a thread bound to its home node, and a range that must stay where it is.
//
// Thread-safety: every function of a Guest may be called from any thread, also at the same time; moving
// or destroying the handle itself may not race with its use. A Guest that outlives its Host is inert.
// Calls in a child of fork() return Errc::forked_child.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "vmm/balloon.h"
#include "vmm/export.h"
#include "vmm/options.h"
#include "vmm/result.h"
#include "vmm/stats.h"

namespace vmm {

class GuestCore;

// A thread's seat in a guest. While held, the thread runs on the home node's processors (within the
// affinity it had) and its CPU time is counted. Dropping it gives the thread its old affinity back.
// May be dropped from any thread, also after its own thread has ended. Move-only.
class VMM_API Seat {
 public:
  Seat() noexcept;
  Seat(Seat&&) noexcept;
  Seat& operator=(Seat&&) noexcept;
  ~Seat();
  // Drops the seat; a second call does nothing.
  void release() noexcept;
  explicit operator bool() const noexcept { return impl_ != nullptr; }

  struct Impl;
  explicit Seat(std::shared_ptr<Impl> impl) noexcept;

 private:
  std::shared_ptr<Impl> impl_;
};

// A range that stays resident and in its place while the pin is held: for buffers that devices, io_uring
// or other kernels' clients write into. Overlapping pins add up. Move-only.
class VMM_API Pin {
 public:
  Pin() noexcept;
  Pin(Pin&&) noexcept;
  Pin& operator=(Pin&&) noexcept;
  ~Pin();
  // Ends the pin; a second call does nothing.
  void release() noexcept;
  explicit operator bool() const noexcept { return guest_ != nullptr; }

  Pin(std::shared_ptr<GuestCore> guest, std::uint64_t first_page, std::uint64_t pages) noexcept;

 private:
  std::shared_ptr<GuestCore> guest_;
  std::uint64_t first_page_ = 0;
  std::uint64_t pages_ = 0;
};

// A handle of a guest. Move-only.
class VMM_API Guest {
 public:
  Guest() noexcept;
  Guest(Guest&&) noexcept;
  Guest& operator=(Guest&&) noexcept;
  // Destroys the guest: threads still waiting for one of its pages get SIGSEGV, its memory is unmapped,
  // its swap file goes (unless swap_persist). Blocks until I/O in flight has ended.
  ~Guest();

  // The guest's memory: 2 MiB aligned, readable and writable. Valid until the guest (or its host) is
  // destroyed. Use it like any memory, except: no munmap, mremap, mprotect, MADV_DONTNEED or second
  // userfaultfd on it (discard() instead of MADV_DONTNEED). What is moved away with mremap all the same, and was not in
  // memory, gets SIGBUS while the guest lives (SIGSEGV before Linux 6.6). Empty for an inert handle.
  std::span<std::byte> memory() const noexcept;

  // Gives the calling thread a seat. Errors: Errc::already_attached, Errc::inert_handle, EINVAL (none of
  // the home node's processors is in the thread's affinity), any errno of sched_setaffinity.
  Result<Seat> attach_current_thread(Attach mode = Attach::bind);

  // Makes [offset, offset + bytes) resident and keeps it so: where a device is to write, on kernels below
  // CapabilityLevel::full and wherever pages are shared. Blocks while pages are read or memory is reclaimed for them.
  // offset and bytes are in bytes, multiples of kPageSize.
  // Errors: EINVAL (range), Errc::pin_limit, Errc::page_lost, Errc::inert_handle. On error nothing is pinned.
  Result<Pin> pin(std::uint64_t offset, std::uint64_t bytes);

  // The contents of [offset, offset + bytes) are no longer needed: they read as zero from now on and
  // cost neither memory nor swap. A write that races with the call may or may not survive.
  // offset and bytes are multiples of kPageSize. Blocks while a page of the range is being read.
  // Errors: EINVAL (range), Errc::pages_pinned (nothing was discarded), Errc::inert_handle.
  Result<void> discard(std::uint64_t offset, std::uint64_t bytes);

  // Takes up to `bytes` from the guest's memory, coldest pages first, and writes them to its swap file.
  // Blocks until done. Returns the bytes freed: fewer when the rest is pinned, reserved, hot or cannot
  // be written (see stats().swap_failed). Errors: Errc::not_supported (no userfaultfd), Errc::inert_handle.
  Result<std::uint64_t> reclaim(std::uint64_t bytes);

  // Brings swapped pages back while the host has free memory. Blocks. Returns the bytes brought back.
  Result<std::uint64_t> restore();

  // Begins to bring the swapped pages of the range back; does not wait. A hint: stops quietly where
  // memory or buffers run out. Errors: EINVAL (range), Errc::inert_handle.
  Result<void> prefetch(std::uint64_t offset, std::uint64_t bytes);

  // Whom the host asks for memory before it swaps; nullptr: nobody. The former driver is called no more when this
  // returns, unless a call of it is under way: the driver lives until that has returned. Does not wait for it.
  // Errors: Errc::inert_handle, EAGAIN (no thread can be had).
  Result<void> set_balloon(std::shared_ptr<BalloonDriver> driver);

  // Changes what is named. All of it or, on error, nothing. Takes effect at once; memory above a lowered limit leaves
  // as fast as the swap file takes it. Errors: EINVAL naming the field; Errc::admission_refused (the reservation);
  // ENOSPC, EFBIG (a lowered reservation makes the swap file larger); Errc::inert_handle.
  Result<void> configure(const GuestChange& change);

  // Gives the guest another home node: its attached threads run there from now on, new memory comes from there, and
  // what it has follows at the managed rate (HostOptions::migration_rate_max). The guest's threads go on meanwhile.
  // Blocks until reads and writes of its swap file in flight have ended. Nothing where the node is its home already.
  // Errors: ENODEV (no such node, or one without processors), EINVAL (outside node_affinity; an attached thread may not
  // run there), Errc::admission_refused (bind_memory, and no room there), ENOMEM, ENOSPC (of epoll),
  // Errc::inert_handle. On error nothing has changed.
  Result<void> rehome(int node);

  // Cheap: takes no lock of the fault path. Errors: Errc::inert_handle, Errc::forked_child, ENOMEM (none to tell it
  // with).
  Result<GuestStats> stats() const;

  explicit operator bool() const noexcept { return core_ != nullptr; }

  explicit Guest(std::shared_ptr<GuestCore> core) noexcept;

 private:
  std::shared_ptr<GuestCore> core_;
};

}  // namespace vmm
