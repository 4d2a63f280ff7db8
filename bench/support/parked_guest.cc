#include "support/parked_guest.h"

#include <chrono>
#include <utility>

#include "reclaim/swap_store.h"
#include "support/hosts.h"

namespace vmm::bench {

ParkedGuest::ParkedGuest(std::uint64_t bytes, const std::string& directory) : credit_(4 * bytes / kPageSize) {
  const auto capabilities = probe(directory);
  const bool move = capabilities.level == CapabilityLevel::full;
  pagemap_ = value_of(os::Pagemap::open(move));
  swap_in_ = value_of(reclaim::SwapIn::create({}, credit_, notices_));
  region::FaultServiceOptions service;
  faults_ = value_of(region::FaultService::create(service, credit_, *swap_in_, demand_, notices_, nullptr));
  region::GuestMemoryOptions options;
  options.id = 1;
  options.name = "bench-parked";
  options.pages = bytes / kPageSize;
  options.large_pages = false;
  options.move = move;
  options.features.move = move;
  options.features.wp_async = move;
  guest_ = value_of(region::GuestMemory::create(options, credit_, pagemap_));
  guest_->backing = value_of(reclaim::SwapStore::create({directory, options.name, bytes, false}, 1));
  guest_->table.set_bell(&faults_->bell());
  value_of(faults_->add(*guest_));
  {
    base::MutexLock lock(guest_->control);
    value_of(guest_->manage());
  }
  evictor_ = std::make_unique<reclaim::Evictor>(*guest_, notices_);
}

ParkedGuest::~ParkedGuest() { faults_->remove(*guest_); }

std::uint64_t ParkedGuest::park_all() {
  // Warm runs cool by one at each round.
  for (int round = 0; round < 5; ++round)
    evictor_->park(guest_->pages(), ~std::uint64_t{0}, std::chrono::steady_clock::now().time_since_epoch());
  return guest_->counters.staging.load();
}

}  // namespace vmm::bench
