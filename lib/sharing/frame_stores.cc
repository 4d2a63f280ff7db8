#include "sharing/frame_stores.h"

#include <string>

#include "base/error.h"

namespace vmm::sharing {

Result<FrameStore*> FrameStores::add(int node, std::uint64_t most_frames, region::Credit& credit) {
  if (stores_.size() == kMostStores)
    return base::invalid("frame stores: " + std::to_string(stores_.size() + 1),
                         "have at most " + std::to_string(kMostStores));
  if (most_frames > kMostFrames)
    return base::invalid("frames of a store: " + std::to_string(most_frames),
                         "give at most " + std::to_string(kMostFrames));
  auto store = FrameStore::create(node, most_frames, credit);
  if (!store) return tl::unexpected(store.error());
  stores_.push_back(std::move(*store));
  return stores_.back().get();
}

std::uint64_t FrameStores::number_of(const FrameStore& store, std::uint64_t frame) const noexcept {
  std::uint64_t index = 0;
  while (stores_[index].get() != &store) ++index;
  return index << kFrameBits | frame;
}

std::uint64_t FrameStores::in_use() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& store : stores_) sum += store->in_use();
  return sum;
}

std::uint64_t FrameStores::changes() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& store : stores_) sum += store->changes();
  return sum;
}

std::uint64_t FrameStores::releases() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& store : stores_) sum += store->releases();
  return sum;
}

}  // namespace vmm::sharing
