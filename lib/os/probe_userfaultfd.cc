// What userfaultfd can do here. Every operation is made once on pages of the probe's own: a feature that the
// kernel names may still be refused by a security module, and a test can make each operation fail.
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "os/call.h"
#include "os/file.h"
#include "os/kernel_abi.h"
#include "os/mapping.h"
#include "os/probe_parts.h"
#include "os/proc_text.h"
#include "vmm/units.h"

namespace vmm::os::probing {
namespace {

constexpr const char* kNoUserfaultfd = "userfaultfd is not available";

// An errno for each way that was tried and failed, 0 = not tried or worked.
struct Refusals {
  int device = 0;  // open of /dev/userfaultfd
  int ask = 0;     // USERFAULTFD_IOC_NEW on it
  int syscall = 0;
  int user_mode = 0;  // the system call, for faults of user mode only
};

struct Opened {
  FileDescriptor fd;
  bool user_mode_only = false;
  std::string detail;  // which way worked, and why those before it did not
  Refusals refused;
};

std::string device_text(const Refusals& refused) {
  return refused.ask != 0 ? "/dev/userfaultfd: USERFAULTFD_IOC_NEW: " + errno_text(refused.ask)
                          : "/dev/userfaultfd: " + errno_text(refused.device);
}

// A filter of system calls is why what needs no privilege is refused.
bool filtered() {
  const auto status = read_small_file("/proc/self/status");
  return status && number_of(field_of(*status, "Seccomp")).value_or(0) == 2;
}

Opened open_userfaultfd() {
  Opened result;
  int fd = -1;
  const FileDescriptor device(call(Call::userfaultfd, [] { return ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC); }));
  if (!device.valid()) {
    result.refused.device = errno;
  } else {
    fd = call(Call::userfaultfd, [&] { return ::ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK); });
    if (fd < 0) result.refused.ask = errno;
  }
  if (fd >= 0) {
    result.fd = FileDescriptor(fd);
    result.detail = "/dev/userfaultfd works";
    return result;
  }
  const std::string before = device_text(result.refused);
  fd = static_cast<int>(call(Call::userfaultfd, [] { return ::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK); }));
  if (fd >= 0) {
    result.fd = FileDescriptor(fd);
    result.detail = "the system call works; " + before;
    return result;
  }
  result.refused.syscall = errno;
  const std::string both = before + "; system call: " + errno_text(result.refused.syscall);
  fd = static_cast<int>(
      call(Call::userfaultfd, [] { return ::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY); }));
  if (fd < 0) result.refused.user_mode = errno;
  result.user_mode_only = fd >= 0;
  result.fd = FileDescriptor(fd);
  result.detail =
      (fd >= 0 ? "user mode only works; " : "user mode only: " + errno_text(result.refused.user_mode) + "; ") + both;
  if (fd < 0 && filtered()) result.detail += "; this process runs under a seccomp filter";
  return result;
}

int ioctl_errno(Call which, const FileDescriptor& fd, unsigned long request, void* argument) {
  return call(which, [&] { return ::ioctl(fd.get(), request, argument); }) == 0 ? 0 : errno;
}

int handshake(const FileDescriptor& fd, std::uint64_t wanted, std::uint64_t* offered = nullptr) {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = wanted;
  const int error = ioctl_errno(Call::uffd_api, fd, UFFDIO_API, &api);
  if (error == 0 && offered != nullptr) *offered = api.features;
  return error;
}

// A page of the probe's own, registered with a descriptor that has the wanted features.
struct Registered {
  // Closed before the page is read again: nobody would answer a fault on it.
  FileDescriptor fd;
  Mapping page;
};

uffdio_range range_of(const Mapping& page) { return {reinterpret_cast<std::uintptr_t>(page.data()), kPageSize}; }

// 0 or an errno.
int set_up(Registered& r, std::uint64_t features, std::uint64_t mode, bool touched) {
  Opened opened = open_userfaultfd();
  if (!opened.fd.valid()) return opened.refused.user_mode;
  r.fd = std::move(opened.fd);
  if (const int error = handshake(r.fd, features)) return error;
  auto page = Mapping::anonymous(kPageSize);
  if (!page) return page.error().code.value();
  r.page = *std::move(page);
  // A fork elsewhere in the process would share the page, and shared pages refuse to move.
  if (const int error = keep_from_children(r.page.data(), kPageSize)) return error;
  // mlockall(MCL_FUTURE) has touched it already.
  if (!touched) drop_pages(r.page.data(), kPageSize);
  if (touched) *r.page.data() = std::byte{1};
  uffdio_register request{};
  request.range = range_of(r.page);
  request.mode = mode;
  return ioctl_errno(Call::uffd_register, r.fd, UFFDIO_REGISTER, &request);
}

int set_write_protect(const Registered& r, bool on) {
  uffdio_writeprotect w{};
  w.range = range_of(r.page);
  w.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
  return ioctl_errno(Call::uffd_writeprotect, r.fd, UFFDIO_WRITEPROTECT, &w);
}

int try_write_protect() {
  Registered r;
  if (const int error =
          set_up(r, UFFD_FEATURE_PAGEFAULT_FLAG_WP, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP, true))
    return error;
  if (const int error = set_write_protect(r, true)) return error;
  return set_write_protect(r, false);
}

// The kernel resolves the write itself: otherwise this thread would wait for an answer.
int try_wp_async() {
  Registered r;
  if (const int error =
          set_up(r, UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC, UFFDIO_REGISTER_MODE_WP, true))
    return error;
  if (const int error = set_write_protect(r, true)) return error;
  *const_cast<volatile std::byte*>(r.page.data()) = std::byte{2};
  return 0;
}

int try_poison() {
  Registered r;
  if (const int error = set_up(r, UFFD_FEATURE_POISON, UFFDIO_REGISTER_MODE_MISSING, false)) return error;
  uffdio_poison p{};
  p.range = range_of(r.page);
  return ioctl_errno(Call::uffd_poison, r.fd, UFFDIO_POISON, &p);
}

int try_move() {
  constexpr auto kMark = std::byte{0x5a};
  Registered to;
  if (const int error = set_up(to, UFFD_FEATURE_MOVE, UFFDIO_REGISTER_MODE_MISSING, false)) return error;
  auto from = Mapping::anonymous(kPageSize);
  if (!from) return from.error().code.value();
  if (const int error = keep_from_children(from->data(), kPageSize)) return error;
  *from->data() = kMark;
  // EAGAIN and EBUSY: the kernel itself has the page in hand for a moment.
  constexpr int kTries = 100;
  int error = 0;
  for (int i = 0; i < kTries; ++i) {
    uffdio_move m{};
    m.dst = reinterpret_cast<std::uintptr_t>(to.page.data());
    m.src = reinterpret_cast<std::uintptr_t>(from->data());
    m.len = kPageSize;
    error = ioctl_errno(Call::uffd_move, to.fd, UFFDIO_MOVE, &m);
    if (error != EAGAIN && error != EBUSY) break;
    ::sched_yield();
  }
  if (error != 0) return error;
  to.fd.reset();
  return *const_cast<volatile std::byte*>(to.page.data()) == kMark ? 0 : EIO;
}

// What gives this process the device. Through it userfaultfd needs neither the system call nor a privilege.
std::string remedy_of_device(const Refusals& refused) {
  if (refused.ask != 0)
    return "allow ioctl(USERFAULTFD_IOC_NEW) on /dev/userfaultfd, which can be opened, in the seccomp filter or "
           "security module that denies it";
  if (refused.device == ENOENT)
    return "make /dev/userfaultfd visible (Linux >= 6.1 has it; docker and podman: --device /dev/userfaultfd)";
  return "let this user read and write /dev/userfaultfd (chmod, chgrp or a udev rule; docker and podman: --device "
         "/dev/userfaultfd)";
}

// Faults of user mode need no privilege: what refuses those is a filter, or a kernel without userfaultfd.
std::string remedy_of_userfaultfd(const Opened& opened) {
  const Refusals& refused = opened.refused;
  const std::string device = remedy_of_device(refused);
  if (opened.fd.valid()) return device + ", or sysctl vm.unprivileged_userfaultfd=1, or give CAP_SYS_PTRACE";
  if (refused.user_mode == EMFILE || refused.user_mode == ENFILE) return "close descriptors or raise RLIMIT_NOFILE";
  const std::string seccomp =
      "allow the system call userfaultfd in the seccomp filter or security module that denies it (docker and podman: "
      "--security-opt seccomp=PROFILE; systemd: SystemCallFilter=userfaultfd)";
  if (refused.user_mode == ENOSYS && !filtered()) return "a kernel with CONFIG_USERFAULTFD; in a sandbox, " + seccomp;
  return device + ", or " + seccomp;
}

// Tries a feature that the kernel offers; one it does not offer is missing without a try.
void add_feature(Capabilities& caps, const char* name, std::uint64_t offered, std::uint64_t feature, int (*attempt)(),
                 const char* since, const char* consequence) {
  const std::string remedy = std::string("Linux >= ") + since;
  if ((offered & feature) == 0) {
    add(caps, name, CapabilityState::missing, "the kernel does not offer it", consequence, remedy);
    return;
  }
  const int error = attempt();
  if (error == 0)
    add(caps, name, CapabilityState::available, "tried on a page, works", consequence, remedy);
  else
    add(caps, name, CapabilityState::missing, "offered, but the try failed: " + errno_text(error), consequence,
        remedy + "; the kernel offers it, so look for a security module that forbids it");
}

}  // namespace

void probe_userfaultfd(Capabilities& caps) {
  const Opened opened = open_userfaultfd();
  std::uint64_t offered = 0;
  int error = opened.fd.valid() ? handshake(opened.fd, 0, &offered) : opened.refused.user_mode;
  std::string detail = opened.detail;
  auto state = CapabilityState::available;
  if (opened.fd.valid() && error != 0) detail += "; UFFDIO_API: " + errno_text(error);
  if (error != 0)
    state = CapabilityState::missing;
  else if (opened.user_mode_only)
    state = CapabilityState::limited;
  add(caps, "userfaultfd", state, std::move(detail),
      state == CapabilityState::limited
          ? "system calls (read, futex, io_uring) into guest memory that is not there fail with EFAULT; pin or "
            "prefetch buffers before they are handed to the kernel"
          : "without it guests stay native: nothing can be reclaimed, so the budget cannot be overcommitted",
      remedy_of_userfaultfd(opened));

  const struct {
    const char* name;
    std::uint64_t feature;
    int (*attempt)();
    const char* since;
    const char* consequence;
  } features[] = {
      {"uffd_write_protect", UFFD_FEATURE_PAGEFAULT_FLAG_WP, try_write_protect, "5.14",
       "without it pages cannot be taken from guests while they run: nothing can be reclaimed"},
      {"uffdio_move", UFFD_FEATURE_MOVE, try_move, "6.8",
       "without it pages are taken by write-protect and copy (level baseline): slower, and a page a device uses is "
       "recognised only if Guest::pin announced it"},
      {"wp_async", UFFD_FEATURE_WP_ASYNC, try_wp_async, "6.7",
       "without it written pages are found by write-protect faults (about 20 us each) instead of by the kernel"},
      {"poison", UFFD_FEATURE_POISON, try_poison, "6.6",
       "without it a page that cannot be read back from swap is made inaccessible (SIGSEGV instead of SIGBUS)"},
  };
  for (const auto& f : features) {
    if (error != 0)
      add(caps, f.name, CapabilityState::missing, kNoUserfaultfd, f.consequence,
          std::string("Linux >= ") + f.since + ", and userfaultfd");
    else
      add_feature(caps, f.name, offered, f.feature, f.attempt, f.since, f.consequence);
  }
}

}  // namespace vmm::os::probing
