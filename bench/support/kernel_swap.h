// KernelSwap: a swap file of the kernel's for as long as it lives, and the kernel's swap of one mapping.
//
// The machine must not be left with a swap file that a benchmark forgot: a guardian, this program started once more
// and out of reach of the terminal's signals, waits for the end of this process, however it comes, and then turns
// the swap file off and removes it.
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "support/child.h"
#include "support/memory_cgroup.h"

namespace vmm::bench {

class KernelSwap {
 public:
  // Makes and enables the file, as root only. `program` is this program. Throws std::runtime_error.
  KernelSwap(const std::string& program, const std::string& directory, std::uint64_t bytes);

  // Does `fill` in a control group of its own, to which all that it touches is charged.
  template <class Fill>
  void charged(Fill&& fill) const {
    group_->enter();
    fill();
    group_->leave();
  }
  // Writes all pages of the mapping to swap. They may still be in memory, in the swap cache.
  void push_out(std::span<std::byte> memory) const;
  // Takes what was charged() out of the swap cache too, where reading it back would be no reading at all. Throws
  // std::runtime_error if it stays.
  void empty_cache() const;

  // What the guardian runs: waits for the end of its standard input, then cleans up.
  static int guard(const char* path) noexcept;

 private:
  std::string path_;
  std::unique_ptr<MemoryCgroup> group_;
  Child guardian_;  // its end is waited for
};

}  // namespace vmm::bench
