#include "os/memory_file.h"

#include <cerrno>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/error.h"
#include "os/call.h"
#include "os/file_size_signal.h"

namespace vmm::os {

Result<MemoryFile> MemoryFile::create(const std::string& name, std::uint64_t bytes) {
  const auto make = [&](unsigned flags) {
    return call(Call::memfd_create, [&] { return ::memfd_create(name.c_str(), MFD_CLOEXEC | flags); });
  };
  // Kernels before 6.3 know no MFD_NOEXEC_SEAL; later ones may insist on it.
  constexpr unsigned kNoExecution = 0x0008U;
  FileDescriptor file(make(kNoExecution));
  if (!file.valid() && errno == EINVAL) file.reset(make(0));
  if (!file.valid())
    return base::fail_errno(errno, "memfd_create of \"" + name + "\"", "raise RLIMIT_NOFILE, or free memory");
  const FileSizeSignalBlocked blocked;
  if (call(Call::ftruncate, [&] { return ::ftruncate(file.get(), static_cast<off_t>(bytes)); }) != 0)
    return base::fail_errno(errno, "ftruncate of memory file \"" + name + "\" to " + std::to_string(bytes) + " bytes",
                            "raise RLIMIT_FSIZE, or lower the size");
  return MemoryFile(std::move(file));
}

bool MemoryFile::may_be_huge() {
  const std::string folder = "/sys/kernel/mm/transparent_hugepage/";
  const auto is_on = [&](const std::string& file) {
    const auto text = read_small_file(folder + file).value_or("");
    for (const char* mode : {"[always]", "[within_size]", "[force]"})
      if (text.find(mode) != std::string::npos) return true;
    return false;
  };
  if (is_on("shmem_enabled")) return true;
  for (int kib = 16; kib <= 2048; kib *= 2)
    if (is_on("hugepages-" + std::to_string(kib) + "kB/shmem_enabled")) return true;
  return false;
}

int MemoryFile::write(std::uint64_t offset, const std::byte* bytes, std::uint64_t count) const noexcept {
  while (count > 0) {
    const auto done = call(Call::pwrite, [&] { return ::pwrite(fd(), bytes, count, static_cast<off_t>(offset)); });
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return done < 0 ? errno : EIO;
    const auto written = static_cast<std::uint64_t>(done);
    offset += written;
    bytes += written;
    count -= written;
  }
  return 0;
}

int MemoryFile::free(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  const int result = call(Call::fallocate, [&] {
    return ::fallocate(fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(bytes));
  });
  return result == 0 ? 0 : errno;
}

Result<std::uint64_t> MemoryFile::allocated() const {
  struct stat status {};
  if (::fstat(fd(), &status) != 0) return base::fail_errno(errno, "fstat of a memory file");
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

}  // namespace vmm::os
