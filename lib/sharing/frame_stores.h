// Frame stores: those of all nodes of a host, and the numbers of frames over all of them, which page words hold.
// Thread-safety: add() by one thread before the others know the stores; the rest by any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "sharing/frame_store.h"

namespace vmm::sharing {

class FrameStores {
 public:
  static constexpr unsigned kFrameBits = 28;
  static constexpr std::uint64_t kMostFrames = std::uint64_t{1} << kFrameBits;  // of a store: 1 TiB
  static constexpr std::size_t kMostStores = std::size_t{1} << (36 - kFrameBits);  // a page word has 36 bits

  // Errors: as FrameStore::create; EINVAL where there are too many, or one is too large.
  Result<FrameStore*> add(int node, std::uint64_t most_frames, region::Credit& credit);

  FrameStore& of(std::uint64_t number) const noexcept { return *stores_[number >> kFrameBits]; }
  static std::uint64_t frame_of(std::uint64_t number) noexcept {
    return number & (kMostFrames - 1);
  }
  std::uint32_t references(std::uint64_t number) const noexcept { return of(number).references(frame_of(number)); }
  std::uint64_t number_of(const FrameStore& store, std::uint64_t frame) const noexcept;
  // All stores together.
  std::uint64_t in_use() const noexcept;
  std::uint64_t changes() const noexcept;
  std::uint64_t releases() const noexcept;

 private:
  std::vector<std::unique_ptr<FrameStore>> stores_;
};

}  // namespace vmm::sharing
