#include "page_sharing/distinct_pages.h"

#include "vmm/units.h"

namespace page_sharing {

void DistinctPages::add(std::span<const std::byte> memory) {
  const std::string_view all(reinterpret_cast<const char*>(memory.data()), memory.size());
  for (std::uint64_t at = 0; at < all.size(); at += vmm::kPageSize) {
    const auto page = all.substr(at, vmm::kPageSize);
    count_.all += page.size();
    if (page.find_first_not_of('\0') == page.npos)
      count_.zero += page.size();
    else if (seen_.insert(page).second)
      count_.distinct += page.size();
  }
}

}  // namespace page_sharing
