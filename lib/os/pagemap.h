// Pagemap: what the kernel knows about the pages of this process, page by page: PAGEMAP_SCAN where the
// kernel has it (Linux >= 6.7), else /proc/self/pagemap.
// Thread-safety: every function may be called from any thread, fault threads included; none allocates.
#pragma once

#include <cstdint>

#include "os/file.h"
#include "vmm/result.h"

namespace vmm::os {

// Bits of a page. Zero: the page is not there.
enum PageBits : std::uint8_t {
  kPresent = 1,   // in memory
  kSwapped = 2,   // in the kernel's swap
  kWritten = 4,   // written since it was last write-protected; also set where nothing was ever protected
  kFile = 8,      // belongs to a file or is shared memory
  kZero = 16,     // the kernel's zero page (by /proc/self/pagemap also what is shared with another mapping): a write takes
                  // memory
  kHuge = 32,     // part of a huge page (PAGEMAP_SCAN only)
  kMarker = 64,   // not there, and a write-protect marker stands in its place (/proc/self/pagemap only)
};

class Pagemap {
 public:
  Pagemap() noexcept = default;
  // `scan` false: use /proc/self/pagemap only. Errors: EMFILE, EACCES.
  static Result<Pagemap> open(bool scan);

  // bits[i] = PageBits of the page at start + i * kPageSize. Returns an errno, 0 = done.
  // At most a slice of 32 MiB a call: longer ones keep mmap waiting.
  int bits(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept;

  // As bits(), always from /proc/self/pagemap: tells a marker from a page.
  int bits_from_pagemap(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept;

  // Write-protects those pages of the range that are present and written, so that the next write shows; never
  // arms a hole (a marker there would make UFFDIO_MOVE fail for ever). Needs a range registered for WP_ASYNC.
  // Errors: ENOTTY without PAGEMAP_SCAN, EPERM where the range is not so registered.
  int arm_written(const void* start, std::uint64_t pages) const noexcept;

  bool has_scan() const noexcept { return scan_; }

 private:
  int scan_bits(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept;

  FileDescriptor fd_;
  bool scan_ = false;
};

}  // namespace vmm::os
