// Unchanged: whether anything can have changed in a guest since a look at all of it began, without asking page by page.
//
// A page that was looked at is write-protected, and one that shows a frame is, too: who writes there takes a page
// fault, as does who touches one that is not there, and the kernel counts them for each process. So where no other
// thread has had one, and the library has put nothing in place by itself, nothing has changed. What the kernel counts
// for others is missed: pages that another process writes (process_vm_writev), and that one of the kernel's threads
// brings for KVM. Thread-safety: one thread, that which looks.
#pragma once

#include <cstdint>

#include "os/fault_count.h"
#include "region/guest_memory.h"
#include "sharing/frame_stores.h"

namespace vmm::sharing {

// Page faults of this process but for those of the looking thread while it looks.
class OthersFaults {
 public:
  // Not while it looks.
  std::uint64_t count() const noexcept { return os::process_faults() - own_; }

  class Looking {
   public:
    explicit Looking(OthersFaults& faults) noexcept : faults_(faults), before_(os::thread_faults()) {}
    ~Looking() { faults_.own_ += os::thread_faults() - before_; }
    Looking(const Looking&) = delete;
    Looking& operator=(const Looking&) = delete;

   private:
    OthersFaults& faults_;
    const std::uint64_t before_;
  };

 private:
  std::uint64_t own_ = 0;
};

class Unchanged {
 public:
  // A look at all of the guest is to begin. True: there is nothing to look at, for the last one has left nothing, and
  // nothing can have changed since it began.
  bool begin(const region::GuestMemory& guest, const FrameStores& stores, const OthersFaults& faults) noexcept {
    const auto& counters = guest.counters;
    const Moment now{faults.count(), stores.releases(), counters.put_back.load(std::memory_order_relaxed),
                     counters.swapped_in.load(std::memory_order_relaxed)};
    if (left_nothing_ && now == last_) return true;
    last_ = now;
    left_nothing_ = false;
    return false;
  }
  // It has come to its end, and all pages were looked at, and nothing is to be taken back.
  void left_nothing() noexcept { left_nothing_ = true; }
  // The next look is needed whatever was seen.
  void forget() noexcept { left_nothing_ = false; }

 private:
  struct Moment {
    std::uint64_t faults = 0, releases = 0, put_back = 0, swapped_in = 0;
    bool operator==(const Moment&) const = default;
  };

  Moment last_;
  bool left_nothing_ = false;
};

}  // namespace vmm::sharing
