// BalloonDriver: how an application gives memory of a guest up when the host asks for it. Whoever knows what a guest's
// memory holds (its allocator, its cache) knows better than the host what can be done without.
//
// What is given is dropped: it costs neither memory nor swap and reads as zero from then on. Using it again is allowed
// at any time from the deflate() on that follows: the page is supplied anew, and the balloon is smaller by it ("pops").
// Between the two the host is dropping it, and what is written there may be lost.
// Thread-safety: the host calls a driver on one thread (vmm-balloon), one call at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/export.h"

namespace vmm {

// Bytes from the beginning of the guest's memory, multiples of kPageSize.
struct BalloonRange {
  std::uint64_t offset = 0;  // of the first byte
  std::uint64_t bytes = 0;   // how many

  bool operator==(const BalloonRange&) const = default;
};

// May use guests and hosts, also end its own guest; what it throws is caught. A call that takes longer than
// HostOptions::balloon_timeout is not waited for: memory is then swapped out instead, what the call returns later is
// refused, and the driver is distrusted for a while, as is one whose answers free nothing.
class VMM_API BalloonDriver {
 public:
  virtual ~BalloonDriver();

  // Gives up about `bytes` bytes of guest memory whose contents are no longer needed; none: it has no more. Ranges that
  // are outside the guest, not whole pages, given already, or pinned are refused and counted
  // (GuestStats::balloon_refused).
  virtual std::vector<BalloonRange> inflate(std::uint64_t bytes) = 0;

  // The host wants these ranges no longer: they were given, perhaps to a former driver, and are the application's again
  // (they read as zero), or the host has refused them, and they hold what they held. Follows each answer of inflate()
  // that was not empty, with what was refused of it: that may be nothing. Pages that are given no longer because they
  // were used are not told.
  virtual void deflate(const std::vector<BalloonRange>& ranges) = 0;
};

}  // namespace vmm
