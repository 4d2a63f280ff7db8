#include "reclaim/swap_file.h"

#include <utility>

#include "os/backing_file.h"

namespace vmm::reclaim {

Result<SwapFile> SwapFile::create(const SwapFileOptions& options) {
  SwapFile swap;
  if (options.bytes == 0) return swap;
  auto backing = os::open_backing_file({options.directory, options.guest_name, options.bytes, options.persist});
  if (!backing) return tl::unexpected<Error>(std::move(backing.error()));
  swap.file_ = std::move(backing->file);
  swap.bytes_ = options.bytes;
  swap.direct_ = backing->direct_io;
  swap.path_ = std::move(backing->path);
  return swap;
}

SwapFile::SwapFile(SwapFile&& other) noexcept
    : file_(std::move(other.file_)), bytes_(other.bytes_.load()), direct_(other.direct_), path_(std::move(other.path_)) {}

Result<void> SwapFile::grow(const SwapFileOptions& options) {
  if (options.bytes <= bytes()) return {};
  const os::BackingFileRequest request{options.directory, options.guest_name, options.bytes, options.persist};
  if (fd() >= 0) {
    if (auto r = os::grow_backing_file(fd(), bytes(), request); !r) return r;
  } else {
    auto backing = os::open_backing_file(request);
    if (!backing) return tl::unexpected<Error>(std::move(backing.error()));
    file_ = std::move(backing->file);
    direct_ = backing->direct_io;
    path_ = std::move(backing->path);
  }
  bytes_.store(options.bytes, std::memory_order_relaxed);
  return {};
}

SwapFile::~SwapFile() {
  if (fd() >= 0 && path_.empty()) os::forget_contents(fd(), bytes_);
}

}  // namespace vmm::reclaim
