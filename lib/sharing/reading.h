// Reading: a thread reads pages of a guest whose words it has locked. Should the application have dropped one, it is
// supplied without a look at the word, which the thread could not unlock while it waits.
// Thread-safety: one at a time for a guest: its worker.
#pragma once

#include "region/guest_memory.h"

namespace vmm::sharing {

class Reading {
 public:
  // `tid` is the thread's.
  Reading(region::GuestMemory& guest, int tid) noexcept : guest_(guest) {
    guest_.copier.store(tid, std::memory_order_release);
  }
  ~Reading() { guest_.copier.store(0, std::memory_order_release); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  region::GuestMemory& guest_;
};

}  // namespace vmm::sharing
