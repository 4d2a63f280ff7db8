// ParkedGuest: a guest whose pages can be parked in staging without being written, built of the parts of one node:
// what a reclaiming worker leaves for an instant, held still for measuring.
// Thread-safety: one thread parks; memory() may be touched by any.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "os/pagemap.h"
#include "reclaim/drop_leftovers.h"
#include "reclaim/evictor.h"
#include "reclaim/swap_in.h"
#include "region/fault_service.h"
#include "region/guest_memory.h"

namespace vmm::bench {

class ParkedGuest {
 public:
  // With 4 KB pages. Throws std::runtime_error.
  ParkedGuest(std::uint64_t bytes, const std::string& directory);
  ~ParkedGuest();
  ParkedGuest(const ParkedGuest&) = delete;
  ParkedGuest& operator=(const ParkedGuest&) = delete;

  std::span<std::byte> memory() const noexcept { return {guest_->base(), guest_->pages() * kPageSize}; }
  // Parks every page that is in place. Returns how many pages are in staging then.
  std::uint64_t park_all();
  // What the worker of a host does behind rescues.
  void drop_leftovers() { reclaim::drop_leftovers(*guest_); }
  std::uint64_t rescues() const noexcept { return guest_->counters.rescues.load(); }

 private:
  class NoDemand final : public region::MemoryDemand {
   public:
    void memory_wanted() noexcept override {}
    void zeros_wanted() noexcept override {}
    void targets_wanted() noexcept override {}
  };

  region::Credit credit_;
  region::Notices notices_;
  NoDemand demand_;
  os::Pagemap pagemap_;
  std::unique_ptr<reclaim::SwapIn> swap_in_;
  std::unique_ptr<region::FaultService> faults_;
  std::unique_ptr<region::GuestMemory> guest_;
  std::unique_ptr<reclaim::Evictor> evictor_;
};

}  // namespace vmm::bench
