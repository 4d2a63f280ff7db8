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

SwapFile::~SwapFile() {
  if (fd() >= 0 && path_.empty()) os::forget_contents(fd(), bytes_);
}

}  // namespace vmm::reclaim
