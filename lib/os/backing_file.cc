#include "os/backing_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "base/error.h"
#include "os/call.h"
#include "os/file_size_signal.h"
#include "os/mapping.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

// Takes the file's name away again unless told to keep it.
class NameGuard {
 public:
  NameGuard() = default;
  ~NameGuard() { remove(); }
  NameGuard(const NameGuard&) = delete;
  NameGuard& operator=(const NameGuard&) = delete;

  void arm(std::string path) { path_ = std::move(path); }
  std::string keep() { return std::exchange(path_, {}); }
  // 0 or an errno.
  int remove() noexcept {
    if (path_.empty()) return 0;
    if (call(Call::unlink, [&] { return ::unlink(path_.c_str()); }) != 0) return errno;
    path_.clear();
    return 0;
  }

 private:
  std::string path_;
};

std::string safe_name(const std::string& name) {
  constexpr std::size_t kLongest = 200;  // NAME_MAX is 255, pid and suffix included
  std::string safe = name.empty() ? "guest" : name.substr(0, kLongest);
  for (char& c : safe) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!plain) c = '_';
  }
  if (safe.front() == '.') safe.front() = '_';
  return safe;
}

bool beyond_size_limit(std::uint64_t bytes) noexcept {
  rlimit limit{};
  return ::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur;
}

const char* remedy_for(int error, std::uint64_t bytes) noexcept {
  switch (error) {
    case ENOENT: return "make the directory, or name another one as swap_directory";
    case ENOTDIR: return "name a directory as swap_directory";
    case EROFS: return "mount the file system writable, or name another swap_directory";
    case EACCES:
    case EPERM: return "let this process write to the directory, or name another swap_directory";
    case EEXIST: return "remove the file, or give the guest another name";
    case ENOSPC:
    case EDQUOT: return "free space there, name another swap_directory, or raise the guest's reservation";
    case EFBIG:
      return beyond_size_limit(bytes) ? "raise RLIMIT_FSIZE (ulimit -f), or raise the guest's reservation"
                                      : "name a swap_directory on a file system that allows files of this size";
    case EMFILE:
    case ENFILE: return "raise RLIMIT_NOFILE or fs.file-max";
    default: return "name another swap_directory";
  }
}

tl::unexpected<Error> failed(int error, const BackingFileRequest& request, const std::string& step) {
  std::string operation = "swap_directory = " + request.directory + ": " + step + " for the swap file of guest \"" +
                          request.name + "\", " + std::to_string(request.bytes) + " bytes needed";
  if (const auto available = available_bytes(request.directory))
    operation += ", " + std::to_string(*available) + " bytes free";
  return base::fail_errno(error, std::move(operation), remedy_for(error, request.bytes));
}

// -1 and errno, as open(2).
int open_unnamed(const BackingFileRequest& request, NameGuard& name) {
  constexpr mode_t kMode = S_IRUSR | S_IWUSR;
  int fd = call(Call::open,
                [&] { return ::open(request.directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, kMode); });
  // What file systems without O_TMPFILE answer.
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  std::string path = request.directory + "/" + safe_name(request.name) + ".XXXXXX";
  fd = call(Call::open, [&] { return ::mkostemp(path.data(), O_CLOEXEC); });
  if (fd >= 0) name.arm(std::move(path));
  return fd;
}

int open_named(const BackingFileRequest& request, NameGuard& name) {
  std::string path = request.directory + "/" + safe_name(request.name) + "." + std::to_string(::getpid()) + ".vswp";
  const int fd = call(Call::open, [&] {
    return ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
  });
  if (fd >= 0) name.arm(std::move(path));
  return fd;
}

// 0 or an errno.
int write_zeros(int fd, std::uint64_t from, std::uint64_t bytes) {
  const auto zeros = Mapping::anonymous(MiB);
  if (!zeros) return zeros.error().code.value();
  for (std::uint64_t done = from; done < bytes;) {
    const auto part = std::min(bytes - done, zeros->size());
    const ssize_t written =
        call(Call::pwrite, [&] { return ::pwrite(fd, zeros->data(), part, static_cast<off_t>(done)); });
    if (written <= 0) return written < 0 ? errno : EIO;
    done += static_cast<std::uint64_t>(written);
  }
  // File systems that allot space late (NFS, for one) tell of its lack only now.
  return call(Call::fallocate, [&] { return ::fdatasync(fd); }) == 0 ? 0 : errno;
}

// 0 or an errno.
int reserve_space(int fd, std::uint64_t from, std::uint64_t bytes) {
  constexpr int kInterruptions = 100;  // by signals for the application, on file systems such as tmpfs
  int result = -1;
  errno = EINTR;
  for (int i = 0; result != 0 && errno == EINTR && i < kInterruptions; ++i)
    result = call(Call::fallocate, [&] { return ::fallocate(fd, 0, static_cast<off_t>(from), static_cast<off_t>(bytes - from)); });
  if (result == 0) return 0;
  return errno == EOPNOTSUPP || errno == ENOSYS ? write_zeros(fd, from, bytes) : errno;
}

bool set_direct(int fd, bool on) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return false;
  const int wanted = on ? flags | O_DIRECT : flags & ~O_DIRECT;
  return call(Call::open, [&] { return ::fcntl(fd, F_SETFL, wanted); }) == 0;
}

// Tried on the second page where there is one: its offset shows if one page is alignment enough.
bool direct_io_works(int fd, std::uint64_t bytes) {
  const auto page = Mapping::anonymous(kPageSize);
  if (!page || !set_direct(fd, true)) return false;
  const auto offset = static_cast<off_t>(bytes >= 2 * kPageSize ? kPageSize : 0);
  constexpr auto kWhole = static_cast<ssize_t>(kPageSize);
  return call(Call::pwrite, [&] { return ::pwrite(fd, page->data(), kPageSize, offset); }) == kWhole &&
         call(Call::pread, [&] { return ::pread(fd, page->data(), kPageSize, offset); }) == kWhole;
}

}  // namespace

Result<BackingFile> open_backing_file(const BackingFileRequest& request) {
  if (request.directory.empty())
    return base::invalid("swap_directory is empty", "name a directory on a disk with room for the guest's pages");
  if (request.bytes == 0 || request.bytes % kPageSize != 0 || request.bytes > static_cast<std::uint64_t>(INT64_MAX))
    return base::invalid("swap file of guest \"" + request.name + "\": bytes = " + std::to_string(request.bytes),
                         "choose a positive multiple of " + std::to_string(kPageSize));

  const FileSizeSignalBlocked no_signal;
  NameGuard name;
  BackingFile result;
  result.file = FileDescriptor(request.persist ? open_named(request, name) : open_unnamed(request, name));
  if (!result.file.valid()) return failed(errno, request, "making a file");
  if (!request.persist) {
    if (const int error = name.remove(); error != 0) return failed(error, request, "unlinking a file");
  }
  const int fd = result.file.get();
  if (const int error = reserve_space(fd, 0, request.bytes); error != 0) return failed(error, request, "reserving space");
  result.direct_io = direct_io_works(fd, request.bytes);
  if (!result.direct_io && !set_direct(fd, false)) return failed(errno, request, "turning O_DIRECT off");
  result.path = name.keep();
  return result;
}

Result<void> grow_backing_file(int fd, std::uint64_t from, const BackingFileRequest& request) {
  const FileSizeSignalBlocked no_signal;
  const int error = reserve_space(fd, from, request.bytes);
  if (error == 0) return {};
  // What was reserved before the space ran out goes back; if it does not, it is only unused.
  [[maybe_unused]] const int cut =
      call(Call::fallocate, [&] { return ::ftruncate(fd, static_cast<off_t>(from)); });
  return failed(error, request, "reserving space");
}

void forget_contents(int fd, std::uint64_t bytes) noexcept {
  // Where the file system cannot do this there is nothing to be done.
  [[maybe_unused]] const int result = call(Call::fallocate, [&] {
    return ::fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes));
  });
}

}  // namespace vmm::os
