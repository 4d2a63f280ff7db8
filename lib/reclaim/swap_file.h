// SwapFile: the file that holds one guest's swapped pages. Its space is reserved when it is made; it has no
// name (so nothing stays behind a killed process) unless asked to be kept. Never mmap'd: a full file system
// would be a SIGBUS.
// Thread-safety: create(), grow() and destruction by one thread; the others by any. What is written or read lies in slots
// that are given out after the growth.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "os/file.h"
#include "vmm/result.h"

namespace vmm::reclaim {

struct SwapFileOptions {
  std::string directory;
  std::string guest_name;   // for the name of a kept file, and for messages
  std::uint64_t bytes = 0;  // a multiple of kPageSize
  bool persist = false;     // named <directory>/<guest_name>.<pid>.vswp and kept
};

class SwapFile {
 public:
  // bytes == 0: no file, fd() is -1. Blocks while the file system reserves the space.
  // Errors: those of os::open_backing_file. On error nothing is left in the directory.
  static Result<SwapFile> create(const SwapFileOptions& options);
  SwapFile(SwapFile&& other) noexcept;
  SwapFile& operator=(SwapFile&&) = delete;
  ~SwapFile();

  // Makes it larger, or makes it, where it had no bytes. Blocks. Errors: as create(); on error it is as it was.
  Result<void> grow(const SwapFileOptions& options);

  int fd() const noexcept { return file_.get(); }
  std::uint64_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }
  // Reads and writes bypass the page cache: buffers, offsets and lengths are multiples of kPageSize.
  bool direct() const noexcept { return direct_; }
  // Empty if the file has no name.
  const std::string& path() const noexcept { return path_; }

 private:
  SwapFile() = default;

  os::FileDescriptor file_;
  std::atomic<std::uint64_t> bytes_{0};
  bool direct_ = false;
  std::string path_;
};

}  // namespace vmm::reclaim
