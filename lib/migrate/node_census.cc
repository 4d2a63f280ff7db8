#include "migrate/node_census.h"

#include <algorithm>
#include <array>

#include "os/page_nodes.h"

namespace vmm::migrate {

NodeCensus take_census(const region::GuestMemory& guest, const std::vector<int>& nodes, std::uint32_t sample,
                       base::Random& random) {
  NodeCensus census;
  census.pages.resize(nodes.size());
  std::array<void*, os::kMostPagesAsked> pages;
  std::array<int, os::kMostPagesAsked> found;
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>({sample, pages.size(), guest.pages()}));
  const bool all = count == guest.pages();
  for (std::size_t i = 0; i < count; ++i) pages[i] = guest.at(all ? i : random.below(guest.pages()));
  if (os::nodes_of_pages(pages.data(), count, found.data()) != 0) return census;
  for (std::size_t i = 0; i < count; ++i) {
    if (found[i] < 0) continue;
    ++census.known;
    const auto at = std::find(nodes.begin(), nodes.end(), found[i]);
    if (at != nodes.end()) ++census.pages[static_cast<std::size_t>(at - nodes.begin())];
  }
  return census;
}

}  // namespace vmm::migrate
