#include "stress/scratch_file.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "os/backing_file.h"
#include "vmm/units.h"

namespace vmm::stress {
namespace {

// `number` is pread64 or pwrite64.
bool transfer(long number, int fd, const std::byte* memory, std::uint64_t bytes) noexcept {
  std::uint64_t done = 0;
  while (done < bytes) {
    const auto n = ::syscall(number, fd, memory + done, bytes - done, done);
    if (n > 0)
      done += static_cast<std::uint64_t>(n);
    else if (n == 0 || errno != EINTR)
      return false;
  }
  return true;
}

}  // namespace

Result<ScratchFile> ScratchFile::create(const std::string& directory) {
  ScratchFile scratch;
  auto file = os::open_backing_file({directory, "scratch", kPages * kPageSize, false});
  if (!file) return tl::unexpected(file.error());
  scratch.direct_file_ = std::move(file->file);
  scratch.direct_ = file->direct_io;
  // Opened once more, for flags of its own.
  const auto path = "/proc/self/fd/" + std::to_string(scratch.direct_file_.get());
  scratch.cached_file_.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!scratch.cached_file_.valid()) return base::fail_errno(errno, "open " + path, "");
  return scratch;
}

bool ScratchFile::write_from(const std::byte* memory, std::uint64_t bytes, bool direct) noexcept {
  return transfer(SYS_pwrite64, (direct ? direct_file_ : cached_file_).get(), memory, bytes);
}

bool ScratchFile::read_into(std::byte* memory, std::uint64_t bytes, bool direct) noexcept {
  return transfer(SYS_pread64, (direct ? direct_file_ : cached_file_).get(), memory, bytes);
}

}  // namespace vmm::stress
