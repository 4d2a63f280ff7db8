// MemoryFile: a file that is nothing but memory (memfd), and whose pages can be given back one by one.
// Thread-safety: as of the kernel's file: any thread, while the object lives.
#pragma once

#include <cstdint>
#include <string>

#include "os/file.h"
#include "vmm/result.h"

namespace vmm::os {

class MemoryFile {
 public:
  // Costs memory only where it is touched: reading it through a mapping makes pages of zeros. `name` is shown in
  // /proc/self/maps. Not inherited by programs that are started. Errors: errnos of memfd_create and ftruncate.
  static Result<MemoryFile> create(const std::string& name, std::uint64_t bytes);

  // The kernel makes huge pages, or larger ones than 4 KiB, of a memory file that is written without a mapping
  // (transparent_hugepage/shmem_enabled); where it does not say, it does not.
  static bool may_be_huge();

  int fd() const noexcept { return file_.get(); }
  // Writes the bytes there, whole pages cheapest: memory is made for them without being cleared first. An errno
  // (ENOSPC, ENOMEM: no memory; EFBIG: RLIMIT_FSIZE), and then some may have been written; 0 = done.
  int write(std::uint64_t offset, const std::byte* bytes, std::uint64_t count) const noexcept;
  // Gives the memory of the range back: it reads as zeros, also where it is mapped. An errno; 0 = done.
  int free(std::uint64_t offset, std::uint64_t bytes) const noexcept;
  // Bytes of memory that it has now. Errors: errnos of fstat.
  Result<std::uint64_t> allocated() const;

 private:
  explicit MemoryFile(FileDescriptor file) noexcept : file_(std::move(file)) {}

  FileDescriptor file_;
};

}  // namespace vmm::os
