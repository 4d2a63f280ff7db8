// How pages can be written to files here.
#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "base/text.h"
#include "os/backing_file.h"
#include "os/call.h"
#include "os/file.h"
#include "os/probe_parts.h"
#include "os/swap_directory.h"
#include "vmm/units.h"

namespace vmm::os::probing {
namespace {

// Less than this is no swap space worth the name.
constexpr std::uint64_t kLittleSpace = 64 * MiB;

// Sets a ring up and has it do nothing once: a security profile may allow the one and forbid the other.
// 0 or an errno.
int try_io_uring() {
  io_uring ring{};
  // liburing returns -errno.
  const auto checked = [](int result) {
    if (result >= 0) return result;
    errno = -result;
    return -1;
  };
  if (call(Call::uring_setup, [&] { return checked(::io_uring_queue_init(4, &ring, 0)); }) < 0) return errno;
  ::io_uring_prep_nop(::io_uring_get_sqe(&ring));
  int error = call(Call::uring_submit, [&] { return checked(::io_uring_submit_and_wait(&ring, 1)); }) < 0 ? errno : 0;
  if (error == 0) {
    io_uring_cqe* done = nullptr;
    error = ::io_uring_peek_cqe(&ring, &done) == 0 ? -done->res : EIO;
    if (done != nullptr) ::io_uring_cqe_seen(&ring, done);
  }
  ::io_uring_queue_exit(&ring);
  return error;
}

void add_io_uring(Capabilities& caps) {
  const int error = try_io_uring();
  add(caps, "io_uring", error == 0 ? CapabilityState::available : CapabilityState::missing,
      error == 0 ? "a ring was set up and used" : errno_text(error),
      "without it a pool of threads reads and writes the swap files: the same results, more processor time",
      error == ENOSYS ? "a kernel with CONFIG_IO_URING"
      : error == ENOMEM
          ? "raise RLIMIT_MEMLOCK (before Linux 5.12 rings count as locked memory)"
          : "sysctl kernel.io_uring_disabled=0, and allow io_uring_setup and io_uring_enter in the seccomp "
            "profile of the container");
}

// In memory (tmpfs, ramfs), where a swap file frees nothing.
bool is_in_memory(const std::string& directory) {
  constexpr std::int64_t kTmpfs = 0x01021994;
  constexpr std::int64_t kRamfs = 0x858458f6;
  struct statfs status {};
  if (call(Call::statvfs, [&] { return ::statfs(directory.c_str(), &status); }) != 0) return false;
  const auto type = static_cast<std::int64_t>(status.f_type);
  return type == kTmpfs || type == kRamfs;
}

// 0 or an errno.
int try_tmpfile(const std::string& directory) {
  const FileDescriptor file(call(Call::open, [&] {
    return ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, S_IRUSR | S_IWUSR);
  }));
  return file.valid() ? 0 : errno;
}

void add_swap_directory(Capabilities& caps, const std::string& directory, const Result<BackingFile>& trial) {
  constexpr const char* kConsequence =
      "guests with less reservation than memory are refused: nowhere to keep what leaves memory";
  if (!trial) {
    add(caps, "swap_directory", CapabilityState::missing, failure_text(trial.error()), kConsequence,
        trial.error().remedy);
    return;
  }
  const auto free = available_bytes(directory);
  if (!free) {
    add(caps, "swap_directory", CapabilityState::limited, directory + ": writable; " + failure_text(free.error()),
        kConsequence, "name a directory of a file system that tells its space");
    return;
  }
  caps.swap_space_free = *free;
  const std::string detail = directory + ": writable, " + base::bytes_text(*free) + " free";
  if (is_in_memory(directory))
    add(caps, "swap_directory", CapabilityState::limited, detail + ", on a file system in memory",
        "pages written there stay in memory: swapping frees nothing", "name a directory on a disk as swap_directory");
  else
    add(caps, "swap_directory", *free < kLittleSpace ? CapabilityState::limited : CapabilityState::available, detail,
        kConsequence, "free space there, or name another swap_directory");
}

void add_tmpfile(Capabilities& caps, const std::string& directory) {
  const int error = try_tmpfile(directory);
  add(caps, "o_tmpfile", error == 0 ? CapabilityState::available : CapabilityState::missing,
      directory + ": " + (error == 0 ? "a file without a name was made" : errno_text(error)),
      "without it a swap file has a name for an instant, and a process killed in that instant leaves it behind",
      "name a swap_directory on ext4, xfs, btrfs or tmpfs");
}

void add_direct(Capabilities& caps, const std::string& directory, const Result<BackingFile>& trial) {
  const bool works = trial && trial->direct_io;
  add(caps, "o_direct", works ? CapabilityState::available : CapabilityState::missing,
      directory + ": " +
          (works   ? "a page was written and read"
           : trial ? "a direct write or read of one page failed"
                   : "not tried, no file"),
      "without it swap I/O goes through the page cache: the kernel keeps copies of pages that were to leave memory",
      "name a swap_directory on a file system with O_DIRECT and blocks of at most 4 KiB");
}

}  // namespace

void probe_storage(Capabilities& caps, const std::string& swap_directory) {
  add_io_uring(caps);
  const std::string directory = swap_directory.empty() ? default_swap_directory() : swap_directory;
  BackingFileRequest request;
  request.directory = directory;
  request.name = "probe";
  request.bytes = 2 * kPageSize;
  const auto trial = open_backing_file(request);
  add_swap_directory(caps, directory, trial);
  add_tmpfile(caps, directory);
  add_direct(caps, directory, trial);
}

}  // namespace vmm::os::probing
