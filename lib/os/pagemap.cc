#include "os/pagemap.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "os/call.h"
#include "os/kernel_abi.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

constexpr std::uint64_t kAll =
    PAGE_IS_WRITTEN | PAGE_IS_FILE | PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_PFNZERO | PAGE_IS_HUGE;

std::uint8_t from_categories(std::uint64_t categories) noexcept {
  const auto bit = [&](std::uint64_t category, std::uint8_t flag) -> std::uint8_t {
    return (categories & category) != 0 ? flag : std::uint8_t{0};
  };
  return static_cast<std::uint8_t>(bit(PAGE_IS_PRESENT, kPresent) | bit(PAGE_IS_SWAPPED, kSwapped) |
                                   bit(PAGE_IS_WRITTEN, kWritten) | bit(PAGE_IS_FILE, kFile) |
                                   bit(PAGE_IS_PFNZERO, kZero) | bit(PAGE_IS_HUGE, kHuge));
}

std::uint8_t from_pagemap(std::uint64_t entry) noexcept {
  const bool present = (entry >> 63) & 1, swapped = (entry >> 62) & 1, file = (entry >> 61) & 1;
  const bool protected_ = (entry >> 57) & 1, exclusive = (entry >> 56) & 1;
  // A marker shows as a swap entry with the write-protect bit. Its swap type is the last there is, SWP_PTE_MARKER
  // (include/linux/swapops.h); who lacks CAP_SYS_ADMIN sees no type.
  const std::uint64_t type = entry & 0x1f, offset = entry & ((1ULL << 55) - 1);
  if (!present && protected_ && (!swapped || offset == 0 || type == 0x1f)) return kMarker;
  if (!present && !swapped) return 0;
  return static_cast<std::uint8_t>((present ? kPresent : 0) | (swapped ? kSwapped : 0) | (protected_ ? 0 : kWritten) |
                                   (file ? kFile : 0) | (present && !file && !exclusive ? kZero : 0));
}

}  // namespace

Result<Pagemap> Pagemap::open(bool scan) {
  const int fd = call(Call::pagemap_open, [] { return ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC); });
  if (fd < 0) {
    const int error = errno;
    return base::fail_errno(error, "open(\"/proc/self/pagemap\")",
                            error == EACCES || error == EPERM
                                ? "a process that changed its user id calls prctl(PR_SET_DUMPABLE, 1) first"
                                : "mount /proc, or raise RLIMIT_NOFILE");
  }
  Pagemap p;
  p.fd_ = FileDescriptor(fd);
  p.scan_ = scan;
  return p;
}

int Pagemap::bits(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept {
  return scan_ ? scan_bits(start, pages, bits) : bits_from_pagemap(start, pages, bits);
}

int Pagemap::scan(pm_scan_arg what, const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept {
  std::memset(bits, 0, pages);
  const auto first = reinterpret_cast<std::uintptr_t>(start);
  std::array<page_region, 64> regions;
  what.size = sizeof what;
  what.start = first;
  what.end = first + pages * kPageSize;
  what.vec = reinterpret_cast<std::uintptr_t>(regions.data());
  what.vec_len = regions.size();
  while (what.start < what.end) {
    what.walk_end = 0;
    const auto found = call(Call::pagemap_scan, [&] { return ::ioctl(fd_.get(), PAGEMAP_SCAN, &what); });
    if (found < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    for (int r = 0; r < found; ++r) {
      const auto& region = regions[static_cast<std::size_t>(r)];
      std::memset(bits + (region.start - first) / kPageSize, from_categories(region.categories),
                  (region.end - region.start) / kPageSize);
    }
    if (what.walk_end <= what.start) break;
    what.start = what.walk_end;
  }
  return 0;
}

int Pagemap::scan_bits(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept {
  pm_scan_arg what{};
  what.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
  what.return_mask = kAll;
  return scan(what, start, pages, bits);
}

int Pagemap::own_pages(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept {
  if (scan_) {
    pm_scan_arg what{};
    what.category_mask = what.category_inverted = PAGE_IS_FILE;
    what.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
    what.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
    return scan(what, start, pages, bits);
  }
  const int e = bits_from_pagemap(start, pages, bits);
  for (std::uint64_t i = 0; e == 0 && i < pages; ++i)
    bits[i] = (bits[i] & kFile) != 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(bits[i] & (kPresent | kSwapped));
  return e;
}

int Pagemap::bits_from_pagemap(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept {
  const auto first = reinterpret_cast<std::uintptr_t>(start) / kPageSize;
  std::array<std::uint64_t, 64> entries;
  for (std::uint64_t done = 0; done < pages;) {
    const auto count = std::min<std::uint64_t>(entries.size(), pages - done);
    const auto got = call(Call::pagemap_read, [&] {
      return ::pread(fd_.get(), entries.data(), count * 8, static_cast<off_t>((first + done) * 8));
    });
    if (got < 0 && errno == EINTR) continue;
    if (got < 8) return got < 0 ? errno : EIO;
    const auto read = static_cast<std::uint64_t>(got) / 8;
    for (std::uint64_t i = 0; i < read; ++i) bits[done + i] = from_pagemap(entries[i]);
    done += read;
  }
  return 0;
}

int Pagemap::written_pages(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept {
  if (!scan_) return ENOTTY;
  // With these masks alone the kernel looks at no more than the page table.
  pm_scan_arg what{};
  what.category_mask = what.return_mask = PAGE_IS_WRITTEN;
  return scan(what, start, pages, bits);
}

int Pagemap::arm_written(const void* start, std::uint64_t pages, std::uint8_t* bits) const noexcept {
  if (!scan_) return ENOTTY;
  pm_scan_arg what{};
  what.flags = PM_SCAN_WP_MATCHING;
  // Whether a page is a file's takes the kernel longer than all the rest.
  what.category_mask = PAGE_IS_PRESENT | PAGE_IS_WRITTEN | PAGE_IS_HUGE | PAGE_IS_PFNZERO;
  what.category_inverted = PAGE_IS_HUGE | PAGE_IS_PFNZERO;
  what.return_mask = PAGE_IS_PRESENT | PAGE_IS_WRITTEN;
  return scan(what, start, pages, bits);
}

}  // namespace vmm::os
