// The least that the kernel must be called for where pages are shared by mappings: what no library that shares so can
// do without. Nothing is hashed, looked up, locked, compared, or counted, and no guest runs beside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "os/mapping.h"
#include "os/memory_file.h"

namespace vmm::bench {

// Processor time in seconds, of this thread, for two plain mappings of so many pages that hold the same runs in another
// order, as the library shares them: the second in batches of neighbours, the first run by run. Of each: taken out with
// UFFDIO_MOVE, the bytes written to a memory file, that mapped in the pages' place and who waits there woken, and what
// was taken out given back, many at once. Throws std::runtime_error: what the kernel does not allow.
double bare_sharing_seconds(std::uint64_t pages, std::uint64_t run);

// Plain memory, each page of which is a mapping of its own of a memory file that holds them in another order: as where
// each page of a guest is shared alone. Thread-safety: one thread at a time.
class PagesByThemselves {
 public:
  // Throws std::runtime_error.
  explicit PagesByThemselves(std::uint64_t pages);
  std::span<std::byte> memory() const noexcept { return {memory_.data(), memory_.size()}; }

 private:
  os::MemoryFile file_;
  os::Mapping frames_, memory_;
};

}  // namespace vmm::bench
