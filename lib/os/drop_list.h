// DropList: ranges whose pages are to be dropped, many at once: where the kernel takes them in one call it looks for
// other processors that know them once for all (process_madvise(2) of oneself; Linux 6.18 does), which takes half of
// the time; else one by one.
// Thread-safety: one thread.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace vmm::os {

class DropList {
 public:
  // To be dropped by the next drop(), or by this call when there are many. Allocates nothing.
  void add(void* start, std::uint64_t bytes) noexcept;
  // Whatever was added since the last time. What the kernel keeps stays as it is.
  void drop() noexcept;

 private:
  std::array<iovec, 64> ranges_;
  std::size_t count_ = 0;
  bool at_once_ = true;  // the kernel has not refused yet
};

}  // namespace vmm::os
