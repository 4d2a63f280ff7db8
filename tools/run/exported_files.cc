// What closes descriptors, for the program: not this library's (own_descriptors.h).
#include <algorithm>
#include <cerrno>
#include <climits>
#include <sys/syscall.h>
#include <unistd.h>

#include "inside.h"
#include "messages.h"
#include "own_descriptors.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

extern "C" {
int __close(int descriptor);
int __dup2(int from, int to) noexcept;
}

namespace vmm::run {
namespace {

bool is_ours(int descriptor) noexcept { return !inside && OwnDescriptors::contains(descriptor); }

// As where there is none.
int refuse() noexcept {
  errno = EBADF;
  return -1;
}

int refuse_to_replace() noexcept {
  say_once(Limit::descriptor,
           "the program uses a descriptor's number that is the library's (dup2, dup3), and is told that it cannot "
           "(EBADF); a larger limit of descriptors (ulimit -n, up to 1024) moves those out of its way");
  return refuse();
}

int kernel_close_range(unsigned first, unsigned last, int flags) noexcept {
  return static_cast<int>(::syscall(SYS_close_range, first, last, flags));
}

int close_others(unsigned first, unsigned last, int flags) noexcept {
  int lowest = 0, highest = 0;
  if (inside || first > last || !OwnDescriptors::bounds(lowest, highest)) return kernel_close_range(first, last, flags);
  unsigned from = first;
  for (int d = lowest; d <= highest; ++d) {
    const auto number = static_cast<unsigned>(d);
    if (number < from || number > last || !OwnDescriptors::contains(d)) continue;
    if (from < number && kernel_close_range(from, number - 1, flags) != 0) return -1;
    from = number + 1;
  }
  return from > last ? 0 : kernel_close_range(from, last, flags);
}

}  // namespace
}  // namespace vmm::run

using namespace vmm::run;

EXPORTED int close(int descriptor) { return is_ours(descriptor) ? refuse() : __close(descriptor); }

EXPORTED int dup2(int from, int to) noexcept { return is_ours(to) ? refuse_to_replace() : __dup2(from, to); }

EXPORTED int dup3(int from, int to, int flags) noexcept {
  if (is_ours(to)) return refuse_to_replace();
  return static_cast<int>(::syscall(SYS_dup3, from, to, flags));
}

EXPORTED int close_range(unsigned first, unsigned last, int flags) noexcept { return close_others(first, last, flags); }

EXPORTED void closefrom(int lowest) noexcept {
  const auto from = static_cast<unsigned>(std::max(lowest, 0));
  if (close_others(from, UINT_MAX, 0) == 0) return;
  // Linux before 5.9.
  for (long d = from, end = ::sysconf(_SC_OPEN_MAX); d < end; ++d) (void)close(static_cast<int>(d));
}
