#include "migrate/node_census.h"

#include <algorithm>
#include <array>

#include "os/page_nodes.h"

namespace vmm::migrate {
namespace {

constexpr std::uint64_t kLooks = 8;  // for each page that is found

}  // namespace

NodeCensus take_census(const region::GuestMemory& guest, const std::vector<int>& nodes, std::uint32_t sample,
                       base::Random& random) {
  NodeCensus census;
  census.pages.resize(nodes.size());
  std::array<void*, os::kMostPagesAsked> pages;
  std::array<int, os::kMostPagesAsked> found;
  const auto most = static_cast<std::size_t>(std::min<std::uint64_t>({sample, pages.size(), guest.pages()}));
  const bool all = most == guest.pages();
  const bool managed = guest.adopted();
  std::size_t count = 0;
  for (std::uint64_t look = 0; count < most && look < (all ? most : kLooks * most); ++look) {
    const auto page = all ? look : random.below(guest.pages());
    if (managed && guest.table.load(page).state() != region::PageState::resident) continue;
    pages[count++] = guest.at(page);
  }
  if (count == 0) return census;
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
