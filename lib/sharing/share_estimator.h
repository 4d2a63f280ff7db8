// Share estimator: what could be saved by sharing, from the pages that it is shown: how many are of zeros, and how many
// distinct ones there are, of each salt and of all together. It keeps a hash of each page, eight bytes, and takes pages
// of equal hashes for equal: XXH3 of 64 bits, under the secret of the process.
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sharing/page_key.h"
#include "vmm/stats.h"

namespace vmm::sharing {

class ShareEstimator {
 public:
  // Of guests of one salt.
  class Group {
   public:
    // A page that is in memory, whose bytes may be written to meanwhile. Throws std::bad_alloc.
    void add(const std::byte* bytes, const PageKeys& keys);
    // One that takes no memory, for it holds nothing but zeros.
    void add_zero() noexcept { ++zero_; }

   private:
    friend class ShareEstimator;
    std::string name_;
    std::uint64_t guests_ = 0, zero_ = 0;
    std::vector<std::uint64_t> keys_;  // of all other pages
  };

  // `secret` outlives it.
  explicit ShareEstimator(const ProcessSecret& secret) noexcept : keys_(secret, "estimate") {}

  const PageKeys& keys() const noexcept { return keys_; }
  // A guest of that salt, which is shown to people as `name`. Throws std::bad_alloc.
  void add_guest(const std::string& salt, const std::string& name);
  // Null: no guest of that salt was added.
  Group* find(const std::string& salt) noexcept;
  // Adds what was found to `estimate`, whose guests are of other homes; then this is empty. Throws std::bad_alloc.
  void tell(ShareEstimate& estimate);

 private:
  const PageKeys keys_;
  std::map<std::string, Group> groups_;  // by salt
};

}  // namespace vmm::sharing
