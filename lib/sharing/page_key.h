// Page keys: by which pages of equal bytes are found.
//
// The key of a page is its XXH3 hash (64 bit, xxHash 0.8) under a secret that is random per process and another for
// each salt: no guest can tell, or choose, what its pages hash to, and equal pages under two salts have keys that say
// nothing of each other. Equal keys are a hint only; whether pages are equal is decided by comparing their bytes, and
// whether guests may share by comparing their salts.
// Thread-safety: immutable after construction.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "vmm/result.h"

namespace vmm::sharing {

class ProcessSecret {
 public:
  static constexpr std::size_t kBytes = 192;

  // From the kernel's random bits. Errors: as os::random_bytes.
  static Result<ProcessSecret> create();

  const std::array<std::byte, kBytes>& bytes() const noexcept { return bytes_; }

 private:
  ProcessSecret() noexcept = default;

  std::array<std::byte, kBytes> bytes_{};
};

class PageKeys {
 public:
  PageKeys(const ProcessSecret& secret, std::string_view salt) noexcept;

  // Of kPageSize bytes, which somebody may be writing to meanwhile: then of nothing that has ever been there.
  std::uint64_t key_of(const std::byte* page) const noexcept;

 private:
  std::array<std::byte, ProcessSecret::kBytes> secret_;
};

}  // namespace vmm::sharing
