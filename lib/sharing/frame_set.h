// Frame set: which frames of a store have been met, each once.
// Thread-safety: one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "os/mapping.h"
#include "vmm/result.h"

namespace vmm::sharing {

class FrameSet {
 public:
  // Of frames below `frames`; memory is used where there are some. Errors: ENOMEM.
  static Result<FrameSet> create(std::uint64_t frames) {
    auto memory = os::Mapping::anonymous((frames / kBits + 1) * sizeof(std::uint64_t));
    if (!memory) return tl::unexpected(memory.error());
    return FrameSet(std::move(*memory));
  }

  // True: it was not there.
  bool insert(std::uint64_t frame) noexcept {
    const auto at = frame / kBits, bit = std::uint64_t{1} << frame % kBits;
    begin_ = std::min(begin_, at);
    end_ = std::max(end_, at + 1);
    const bool is_new = (words()[at] & bit) == 0;
    words()[at] |= bit;
    return is_new;
  }
  void clear() noexcept {
    if (begin_ < end_) std::fill(words() + begin_, words() + end_, 0);
    begin_ = ~std::uint64_t{0};
    end_ = 0;
  }

 private:
  static constexpr std::uint64_t kBits = 64;

  explicit FrameSet(os::Mapping memory) noexcept : memory_(std::move(memory)) {}
  std::uint64_t* words() const noexcept { return reinterpret_cast<std::uint64_t*>(memory_.data()); }

  os::Mapping memory_;
  std::uint64_t begin_ = ~std::uint64_t{0}, end_ = 0;  // words that may not be zero
};

}  // namespace vmm::sharing
