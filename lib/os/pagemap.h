// Pagemap: what the kernel knows about the pages of this process, page by page: PAGEMAP_SCAN where the
// kernel has it (Linux >= 6.7), else /proc/self/pagemap.
// Thread-safety: every function may be called from any thread, fault threads included; none allocates.
#pragma once

#include <cstdint>

#include "os/file.h"
#include "vmm/result.h"

struct pm_scan_arg;

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

  // bits[i] = kPresent or kSwapped where a page is the mapping's own, else 0: in a private mapping of a file, where it
  // has been written to. Otherwise as bits().
  int own_pages(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept;

  // bits[i] = kWritten for pages that were written since they were last armed, and for those that never were or are not
  // there, else 0. Otherwise as bits(), but a tenth of the time. ENOTTY without PAGEMAP_SCAN.
  int written_pages(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept;

  // Write-protects pages that are present and written ("arms" them), so that the next write shows; they get kPresent |
  // kWritten, all others 0. Never arms a hole (a marker there would make UFFDIO_MOVE fail for ever), a huge page (the
  // next write would split it), or the zero page. Leaves out mappings that are not registered for WP_ASYNC. On an error
  // some may be armed. ENOTTY without PAGEMAP_SCAN.
  int arm_written(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept;

  bool has_scan() const noexcept { return scan_; }

 private:
  int scan_bits(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept;
  int scan(pm_scan_arg what, const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept;

  FileDescriptor fd_;
  bool scan_ = false;
};

}  // namespace vmm::os
