// ScratchFile: a nameless file on disk that a thread writes from and reads into guest memory, as an application
// does with its own files: through the page cache, and with O_DIRECT, where a device reaches the pages themselves.
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "os/file.h"
#include "vmm/result.h"

namespace vmm::stress {

class ScratchFile {
 public:
  static constexpr std::uint64_t kPages = 16;

  // Errors: those of os::open_backing_file, of open(2).
  static Result<ScratchFile> create(const std::string& directory);

  // False where the file system has no O_DIRECT: everything then goes through the page cache.
  bool has_direct() const noexcept { return direct_; }

  // The kernel copies or the device transfers `bytes` at the beginning of the file; true if all of them.
  // Made by raw system calls: sanitizers do not see them, as they do not see a device.
  bool write_from(const std::byte* memory, std::uint64_t bytes, bool direct) noexcept;
  bool read_into(std::byte* memory, std::uint64_t bytes, bool direct) noexcept;

 private:
  os::FileDescriptor direct_file_, cached_file_;  // two open files of one inode
  bool direct_ = false;
};

}  // namespace vmm::stress
