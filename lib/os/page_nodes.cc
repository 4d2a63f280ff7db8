#include "os/page_nodes.h"

#include <numaif.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "os/call.h"

namespace vmm::os {
namespace {

// The wrapper's arguments are not const, though the kernel only reads them.
long move(void* const* pages, std::size_t count, const int* nodes, int* status) noexcept {
  std::fill_n(status, count, kUntold);
  return call(Call::move_pages,
              [&] { return ::move_pages(0, count, const_cast<void**>(pages), nodes, status, MPOL_MF_MOVE); });
}

}  // namespace

int nodes_of_pages(void* const* pages, std::size_t count, int* nodes) noexcept {
  if (count > kMostPagesAsked) return EINVAL;
  return move(pages, count, nullptr, nodes) == 0 ? 0 : errno;
}

int move_pages_to(void* const* pages, std::size_t count, int node, int* status) noexcept {
  if (count > kMostPagesAsked) return EINVAL;
  std::array<int, kMostPagesAsked> nodes;
  std::fill_n(nodes.begin(), count, node);
  const long left = move(pages, count, nodes.data(), status);
  if (left < 0) return errno;
  return left == 0 ? 0 : EAGAIN;
}

}  // namespace vmm::os
