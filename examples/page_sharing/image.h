// Image: what a guest's memory holds at first: a file, or made of libraries of this machine.
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "vmm/result.h"

namespace page_sharing {

struct Image {
  std::string name;
  std::uint64_t bytes = 0;  // not 0
  // Writes them to the beginning of a memory that is at least so large. On an error some may have been written.
  std::function<vmm::Result<void>(std::span<std::byte>)> load;
};

// A raw memory dump or disk image: the bytes of the file as they are.
// Errors: those of opening it; EINVAL (no regular file, or an empty one). load: those of reading it; EIO (it has become
// shorter).
vmm::Result<Image> image_file(const std::string& path);

// Parts of the memory of guests that run the same, in percent; 67 % are alike.
inline constexpr std::uint64_t kZeroPercent = 10;
inline constexpr std::uint64_t kOwnPercent = 33;

// Of `count` guests that run the same. Each has kZeroPercent of pages of zeros and kOwnPercent of its own, random
// words; the others are bytes of this machine's shared libraries, as a page cache holds them. They lie in runs of 1 to
// 128 pages, cut and ordered differently in each guest. The same every time, as long as the libraries are. `bytes` is
// of whole pages. Errors: ENOENT (too few libraries).
vmm::Result<std::vector<Image>> made_images(unsigned count, std::uint64_t bytes);

}  // namespace page_sharing
