#include "os/userfaultfd.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "os/call.h"
#include "os/kernel_abi.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

std::uint64_t address_of(const void* p) noexcept { return reinterpret_cast<std::uintptr_t>(p); }

int ioctl_errno(Call which, int fd, unsigned long request, void* argument) noexcept {
  for (;;) {
    if (call(which, [&] { return ::ioctl(fd, request, argument); }) == 0) return 0;
    if (errno != EINTR) return errno;
  }
}

// Repeats `step(done, length)`, which returns {bytes done by this call or negative, errno}, until all is done or a
// call makes no progress. EAGAIN with progress hides the real error of the rest; the next call tells it.
//
// The kernel refuses a range over two mappings whole, with the errno `split`: an madvise or mlock of the application
// on part of a guest is enough to split its mapping. The length is then halved until the range fits into one.
template <class Step>
Progress resume(std::uint64_t bytes, int split, Step&& step) noexcept {
  std::uint64_t done = 0;
  std::uint64_t length = bytes;
  int idle = 0;
  while (done < bytes) {
    length = std::min(length, bytes - done);
    const auto [moved, error] = step(done, length);
    if (moved > 0) {
      done += static_cast<std::uint64_t>(moved);
      if (error == 0) length = bytes;
      idle = 0;
      continue;
    }
    if (error == 0) continue;
    if (error == split && length > kPageSize) {
      length = length / kPageSize / 2 * kPageSize;
      continue;
    }
    // EAGAIN without progress: a page is locked by the kernel for a moment, or the address space changes.
    if (error == EAGAIN && ++idle < 16) continue;
    return {done, error};
  }
  return {done, 0};
}

int register_for(int fd, const void* start, std::uint64_t bytes, std::uint64_t mode) noexcept {
  uffdio_register r{};
  r.range = {address_of(start), bytes};
  r.mode = mode;
  return ioctl_errno(Call::uffd_register, fd, UFFDIO_REGISTER, &r);
}

int open_descriptor(bool& user_mode_only) noexcept {
  user_mode_only = false;
  const int device = call(Call::userfaultfd, [] { return ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC); });
  if (device >= 0) {
    const int fd =
        call(Call::userfaultfd, [&] { return ::ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK); });
    ::close(device);
    if (fd >= 0) return fd;
  }
  int fd = static_cast<int>(
      call(Call::userfaultfd, [] { return ::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK); }));
  if (fd >= 0) return fd;
  user_mode_only = true;
  return static_cast<int>(call(Call::userfaultfd, [] {
    return ::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
  }));
}

}  // namespace

Result<Userfaultfd> Userfaultfd::open(UffdFeatures wanted) {
  Userfaultfd u;
  const int fd = open_descriptor(wanted.user_mode_only);
  if (fd < 0)
    return base::fail_errno(errno, "userfaultfd",
                            "give the process access to /dev/userfaultfd, or allow the system call: probe() says how");
  u.fd_ = FileDescriptor(fd);
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_THREAD_ID;
  if (wanted.move) api.features |= UFFD_FEATURE_MOVE;
  if (wanted.wp_async) api.features |= UFFD_FEATURE_WP_ASYNC;
  if (wanted.poison) api.features |= UFFD_FEATURE_POISON;
  if (wanted.remap) api.features |= UFFD_FEATURE_EVENT_REMAP;
  if (wanted.protect_files) api.features |= UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
  if (const int error = ioctl_errno(Call::uffd_api, fd, UFFDIO_API, &api))
    return base::fail_errno(error, "UFFDIO_API", "this kernel lacks a userfaultfd feature that was asked for");
  u.features_ = wanted;
  return u;
}

int Userfaultfd::register_range(const void* start, std::uint64_t bytes, bool write_protect) const noexcept {
  return register_for(fd(), start, bytes, UFFDIO_REGISTER_MODE_MISSING | (write_protect ? UFFDIO_REGISTER_MODE_WP : 0));
}

int Userfaultfd::register_writes(const void* start, std::uint64_t bytes) const noexcept {
  return register_for(fd(), start, bytes, UFFDIO_REGISTER_MODE_WP);
}

int Userfaultfd::unregister_range(const void* start, std::uint64_t bytes) const noexcept {
  uffdio_range r{address_of(start), bytes};
  return ioctl_errno(Call::uffd_unregister, fd(), UFFDIO_UNREGISTER, &r);
}

int Userfaultfd::wake(const void* start, std::uint64_t bytes) const noexcept {
  uffdio_range r{address_of(start), bytes};
  return ioctl_errno(Call::uffd_wake, fd(), UFFDIO_WAKE, &r);
}

int Userfaultfd::write_protect(const void* start, std::uint64_t bytes, bool protect) const noexcept {
  // Before Linux 6.3 a range over two mappings is refused.
  return resume(bytes, ENOENT,
                [&](std::uint64_t done, std::uint64_t length) {
                  uffdio_writeprotect w{};
                  w.range = {address_of(start) + done, length};
                  w.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
                  const int error = ioctl_errno(Call::uffd_writeprotect, fd(), UFFDIO_WRITEPROTECT, &w);
                  return std::pair<std::int64_t, int>(error == 0 ? static_cast<std::int64_t>(length) : 0, error);
                })
      .error;
}

int Userfaultfd::poison(const void* start, std::uint64_t bytes) const noexcept {
  uffdio_poison p{};
  p.range = {address_of(start), bytes};
  return ioctl_errno(Call::uffd_poison, fd(), UFFDIO_POISON, &p);
}

Progress Userfaultfd::copy(void* to, const void* from, std::uint64_t bytes, bool protect) const noexcept {
  return resume(bytes, ENOENT, [&](std::uint64_t done, std::uint64_t length) {
    uffdio_copy c{};
    c.dst = address_of(to) + done;
    c.src = address_of(from) + done;
    c.len = length;
    c.mode = protect ? UFFDIO_COPY_MODE_WP : 0;
    const int error = ioctl_errno(Call::uffd_copy, fd(), UFFDIO_COPY, &c);
    return std::pair<std::int64_t, int>(c.copy, error);
  });
}

Progress Userfaultfd::zero(void* to, std::uint64_t bytes) const noexcept {
  return resume(bytes, ENOENT, [&](std::uint64_t done, std::uint64_t length) {
    uffdio_zeropage z{};
    z.range = {address_of(to) + done, length};
    const int error = ioctl_errno(Call::uffd_zeropage, fd(), UFFDIO_ZEROPAGE, &z);
    return std::pair<std::int64_t, int>(z.zeropage, error);
  });
}

Progress Userfaultfd::move(void* to, void* from, std::uint64_t bytes) const noexcept {
  return resume(bytes, EINVAL, [&](std::uint64_t done, std::uint64_t length) {
    uffdio_move m{};
    m.dst = address_of(to) + done;
    m.src = address_of(from) + done;
    m.len = length;
    const int error = ioctl_errno(Call::uffd_move, fd(), UFFDIO_MOVE, &m);
    return std::pair<std::int64_t, int>(m.move, error);
  });
}

int Userfaultfd::read(FaultEvent* events, int most) const noexcept {
  std::array<uffd_msg, 64> messages;
  if (most > static_cast<int>(messages.size())) most = static_cast<int>(messages.size());
  const auto bytes = call(Call::uffd_read, [&] {
    return ::read(fd(), messages.data(), static_cast<std::size_t>(most) * sizeof(uffd_msg));
  });
  if (bytes < 0) return -errno;
  const int count = static_cast<int>(static_cast<std::size_t>(bytes) / sizeof(uffd_msg));
  for (int i = 0; i < count; ++i) {
    const auto& m = messages[static_cast<std::size_t>(i)];
    const auto flags = m.arg.pagefault.flags;
    events[i] = {m.arg.pagefault.address & ~(kPageSize - 1), (flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0,
                 (flags & UFFD_PAGEFAULT_FLAG_WP) != 0, m.event != UFFD_EVENT_PAGEFAULT,
                 static_cast<int>(m.arg.pagefault.feat.ptid)};
  }
  return count;
}

}  // namespace vmm::os
