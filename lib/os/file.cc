#include "os/file.h"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"
#include "os/call.h"

namespace vmm::os {

namespace {
constexpr std::size_t kSmallFileLimit = std::size_t{1} << 20;
}

void FileDescriptor::reset(int fd) noexcept {
  if (fd_ >= 0) {
    const int saved = errno;
    // Closed also when a test lets close fail: as in Linux, the error does not keep the descriptor open.
    (void)injected_failure(Call::close);
    ::close(fd_);
    errno = saved;
  }
  fd_ = fd;
}

Result<std::string> read_small_file(const std::string& path) {
  const FileDescriptor file(call(Call::read_file, [&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!file.valid()) return base::fail_errno(errno, "open " + path);
  std::string text;
  std::array<char, 4096> buffer;
  while (text.size() < kSmallFileLimit) {
    const ssize_t got = call(Call::read_file, [&] { return ::read(file.get(), buffer.data(), buffer.size()); });
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return base::fail_errno(errno, "read " + path);
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

Result<std::uint64_t> available_bytes(const std::string& directory) {
  struct statvfs status {};
  if (call(Call::statvfs, [&] { return ::statvfs(directory.c_str(), &status); }) != 0)
    return base::fail_errno(errno, "statvfs " + directory, "name a directory that exists and may be searched");
  return static_cast<std::uint64_t>(status.f_bavail) * static_cast<std::uint64_t>(status.f_frsize);
}

}  // namespace vmm::os
