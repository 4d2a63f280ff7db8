#include "own_descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>

#include "inside.h"

namespace vmm::run {
namespace {

// As many as are ever ours: a host of 8 nodes has some 60, and each who asks for statistics one.
constexpr int kMost = 256;
constexpr int kLeastLimit = 64;

std::atomic<int> first{-1};
std::atomic<std::uint64_t> ours[kMost / 64];

void mark(int descriptor, bool on) noexcept {
  const int at = descriptor - first.load(std::memory_order_relaxed);
  if (first.load(std::memory_order_relaxed) < 0 || at < 0 || at >= kMost) return;
  const std::uint64_t bit = std::uint64_t{1} << (at % 64);
  if (on) {
    ours[at / 64].fetch_or(bit, std::memory_order_relaxed);
  } else {
    ours[at / 64].fetch_and(~bit, std::memory_order_relaxed);
  }
}

}  // namespace

OwnDescriptors::Making::Making() noexcept : inherited_(kMost / 64) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < kLeastLimit) return;
  const int soft = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1024));
  const int from = std::max(soft - kMost, soft / 2);
  int filler = ::open("/", O_PATH | O_CLOEXEC);
  while (filler >= 0 && filler < from) {
    fillers_.push_back(filler);
    filler = ::fcntl(filler, F_DUPFD_CLOEXEC, 0);
  }
  if (filler >= 0) ::close(filler);
  first.store(from, std::memory_order_relaxed);
  for (int at = 0; at < kMost; ++at)
    if (::fcntl(from + at, F_GETFD) >= 0)
      inherited_[static_cast<std::size_t>(at / 64)] |= std::uint64_t{1} << (at % 64);
}

OwnDescriptors::Making::~Making() {
  for (const int filler : fillers_) ::close(filler);
  const int from = first.load(std::memory_order_relaxed);
  if (from < 0) return;
  for (int at = 0; at < kMost; ++at) {
    const bool before = (inherited_[static_cast<std::size_t>(at / 64)] >> (at % 64) & 1) != 0;
    if (!before && ::fcntl(from + at, F_GETFD) >= 0) mark(from + at, true);
  }
}

bool OwnDescriptors::contains(int descriptor) noexcept {
  const int from = first.load(std::memory_order_relaxed), at = descriptor - from;
  if (from < 0 || at < 0 || at >= kMost) return false;
  return (ours[at / 64].load(std::memory_order_relaxed) >> (at % 64) & 1) != 0;
}

bool OwnDescriptors::bounds(int& lowest, int& last) noexcept {
  const int from = first.load(std::memory_order_relaxed);
  lowest = from;
  last = from + kMost - 1;
  return from >= 0;
}

int OwnDescriptors::adopt(int descriptor) noexcept {
  const int from = first.load(std::memory_order_relaxed);
  if (descriptor < 0 || from < 0 || !inside) return descriptor;
  if (descriptor < from) {
    const int high = ::fcntl(descriptor, F_DUPFD_CLOEXEC, from);
    if (high < 0) return descriptor;
    ::syscall(SYS_close, descriptor);
    descriptor = high;
  }
  mark(descriptor, true);
  return descriptor;
}

void OwnDescriptors::forget(int descriptor) noexcept { mark(descriptor, false); }

}  // namespace vmm::run

// Linked with --wrap for these.
extern "C" {
int __real_accept4(int, sockaddr*, socklen_t*, int);
int __real_open(const char*, int, ...);
int __close(int);

#define OWN __attribute__((visibility("hidden")))

OWN int __wrap_accept4(int socket, sockaddr* address, socklen_t* bytes, int flags) {
  return vmm::run::OwnDescriptors::adopt(__real_accept4(socket, address, bytes, flags));
}
OWN int __wrap_open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  return vmm::run::OwnDescriptors::adopt(__real_open(path, flags, mode));
}
OWN int __wrap_close(int descriptor) {
  vmm::run::OwnDescriptors::forget(descriptor);
  return __close(descriptor);
}
}
