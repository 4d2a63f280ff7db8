#include "os/nice.h"

#include <sys/resource.h>

#include <cerrno>
#include <string>

#include "base/error.h"
#include "os/call.h"
#include "os/thread.h"

namespace vmm::os {
namespace {

constexpr int kLeast = -20, kMost = 19;

}  // namespace

Result<int> thread_nice(int tid) {
  errno = 0;
  const int nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(tid));
  if (errno != 0)
    return base::fail_errno(errno, "nice value of thread " + std::to_string(tid), "name a live thread of this process");
  return nice;
}

Result<void> set_thread_nice(int tid, int nice) {
  // The kernel would take the nearest.
  if (nice < kLeast || nice > kMost)
    return base::invalid("nice value of thread " + std::to_string(tid) + ": " + std::to_string(nice), "give -20 to 19");
  if (call(Call::setpriority, [&] { return ::setpriority(PRIO_PROCESS, static_cast<id_t>(tid), nice); }) != 0)
    return base::fail_errno(errno, "setpriority of thread " + std::to_string(tid) + " to " + std::to_string(nice),
                            "name a live thread of this process; lower values take CAP_SYS_NICE, or a RLIMIT_NICE of " +
                                std::to_string(1 + kMost - nice));
  return {};
}

Result<bool> can_lower_nice(int to) {
  bool lowered = false;
  auto thread = Thread::start("vmm-nice", [&] {
    lowered = set_thread_nice(0, kMost).has_value() && set_thread_nice(0, to).has_value();
  });
  if (!thread) return tl::unexpected(thread.error());
  thread->join();
  return lowered;
}

}  // namespace vmm::os
