#include "sharing/page_key.h"

#include <cstring>

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // the version for the widest vector unit that the processor has
#else
#include <xxhash.h>
#endif

#include "os/random_bytes.h"
#include "vmm/units.h"

namespace vmm::sharing {

static_assert(ProcessSecret::kBytes >= XXH3_SECRET_SIZE_MIN);

Result<ProcessSecret> ProcessSecret::create() {
  ProcessSecret secret;
  if (auto r = os::random_bytes(secret.bytes_); !r) return tl::unexpected(r.error());
  return secret;
}

// Each part of the salt's secret is the hash of the salt and its own place under the secret of the process.
PageKeys::PageKeys(const ProcessSecret& secret, std::string_view salt) noexcept {
  const auto& whole = secret.bytes();
  const auto of_salt = XXH3_128bits_withSecret(salt.data(), salt.size(), whole.data(), whole.size());
  for (std::size_t at = 0; at < secret_.size(); at += sizeof(XXH128_hash_t)) {
    const std::uint64_t place[] = {of_salt.low64, of_salt.high64, at};
    const auto part = XXH3_128bits_withSecret(place, sizeof place, whole.data(), whole.size());
    std::memcpy(&secret_[at], &part, sizeof part);
  }
}

std::uint64_t PageKeys::key_of(const std::byte* page) const noexcept {
  return XXH3_64bits_withSecret(page, kPageSize, secret_.data(), secret_.size());
}

}  // namespace vmm::sharing
