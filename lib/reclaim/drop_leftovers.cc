#include "reclaim/drop_leftovers.h"

namespace vmm::reclaim {

void drop_leftovers(region::GuestMemory& guest) noexcept {
  guest.leftovers.take_all([&](std::uint64_t page) {
    const auto word = guest.table.lock(page);
    const bool dropped = os::drop_pages(guest.staged(page), kPageSize) == 0;
    guest.table.unlock(page, dropped ? word.with_writing(false) : word);
    guest.table.released();
    if (!dropped) return;
    region::drop(guest.counters.staging);
    guest.uncharge(1);
  });
}

}  // namespace vmm::reclaim
