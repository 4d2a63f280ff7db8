// Node census: on which nodes a guest's pages are, from a sample of them.
// Thread-safety: any thread; one Random belongs to one.
#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "region/guest_memory.h"

namespace vmm::migrate {

struct NodeCensus {
  std::vector<std::uint32_t> pages;  // by node, as `nodes` lists them
  std::uint32_t known = 0;           // pages that are on some node, others than those of `nodes` included

  // The part of what is known that is on nodes[index]; 1 where nothing is known.
  double part(std::size_t index) const noexcept {
    return known == 0 ? 1 : static_cast<double>(pages[index]) / known;
  }
};

// Looks at `sample` pages, 512 at most; at all of a guest that has no more. Of a guest that is managed, pages in place
// are looked for, eight times as many at most. Costs about 0.4 us a page. What is not in place, or not told by the
// kernel, is not counted. `nodes`: ids.
NodeCensus take_census(const region::GuestMemory& guest, const std::vector<int>& nodes, std::uint32_t sample,
                       base::Random& random);

}  // namespace vmm::migrate
