#include "os/affinity.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <string>

#include "base/error.h"
#include "os/call.h"
#include "os/file.h"
#include "os/proc_text.h"

namespace vmm::os {
namespace {

// The kernel's processor mask: an array of longs, however many processors there are (cpu_set_t has 1,024).
using Mask = std::vector<unsigned long>;
constexpr std::size_t kBits = sizeof(unsigned long) * CHAR_BIT;
constexpr std::size_t kMostProcessors = std::size_t{1} << 20;

cpu_set_t* as_cpu_set(Mask& mask) noexcept { return reinterpret_cast<cpu_set_t*>(mask.data()); }

std::string thread_text(int tid) {
  return tid == 0 ? std::string("the calling thread") : "thread " + std::to_string(tid);
}

}  // namespace

int current_tid() noexcept { return ::gettid(); }
void yield_processor() noexcept { ::sched_yield(); }
int current_processor() noexcept { return ::sched_getcpu(); }

void leave_processor(int processor) noexcept {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (processor < 0 || processor >= CPU_SETSIZE) return;
  if (call(Call::sched_getaffinity, [&] { return ::sched_getaffinity(0, sizeof allowed, &allowed); }) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<std::size_t>(processor), &others);
  if (CPU_COUNT(&others) == 0) return;
  if (call(Call::sched_setaffinity, [&] { return ::sched_setaffinity(0, sizeof others, &others); }) != 0) return;
  // Not a call that tests let fail: the thread may run everywhere again.
  ::sched_setaffinity(0, sizeof allowed, &allowed);
}

Result<std::vector<int>> thread_affinity(int tid) {
  // EINVAL means that the machine may have more processors than the mask has bits.
  for (std::size_t processors = 1024; processors <= kMostProcessors; processors *= 2) {
    Mask mask(processors / kBits, 0);
    const int result = call(Call::sched_getaffinity,
                            [&] { return ::sched_getaffinity(tid, mask.size() * sizeof(mask[0]), as_cpu_set(mask)); });
    if (result != 0) {
      if (errno == EINVAL && processors < kMostProcessors) continue;
      return base::fail_errno(errno, "sched_getaffinity of " + thread_text(tid), "name a live thread of this process");
    }
    std::vector<int> cpus;
    for (std::size_t cpu = 0; cpu < processors; ++cpu)
      if ((mask[cpu / kBits] >> (cpu % kBits)) & 1) cpus.push_back(static_cast<int>(cpu));
    return cpus;
  }
  return base::fail_errno(EINVAL, "sched_getaffinity of " + thread_text(tid));
}

Result<void> set_thread_affinity(int tid, const std::vector<int>& cpus) {
  if (cpus.empty())
    return base::invalid("processors for " + thread_text(tid) + ": none", "name at least one processor");
  const auto [lowest, highest] = std::minmax_element(cpus.begin(), cpus.end());
  if (*lowest < 0 || static_cast<std::size_t>(*highest) >= kMostProcessors)
    return base::invalid(
        "processors for " + thread_text(tid) + ": " + std::to_string(*lowest) + " to " + std::to_string(*highest),
        "name processors of this machine");
  Mask mask(static_cast<std::size_t>(*highest) / kBits + 1, 0);
  for (const int cpu : cpus)
    mask[static_cast<std::size_t>(cpu) / kBits] |= 1UL << (static_cast<std::size_t>(cpu) % kBits);
  const int result = call(Call::sched_setaffinity,
                          [&] { return ::sched_setaffinity(tid, mask.size() * sizeof(mask[0]), as_cpu_set(mask)); });
  if (result != 0)
    return base::fail_errno(errno,
                            "sched_setaffinity of " + thread_text(tid) + " to " + std::to_string(cpus.size()) +
                                " processors from " + std::to_string(*lowest),
                            "name processors that are online and in this process's cpuset");
  return {};
}

Result<std::uint64_t> thread_cpu_ns(int tid) {
  // The kernel's encoding of a thread's processor-time clock (include/linux/posix-timers_types.h): the inverted
  // thread id above three bits, of which 4 = of one thread and 2 = scheduler time.
  const auto clock =
      tid == 0 ? CLOCK_THREAD_CPUTIME_ID : static_cast<clockid_t>((~static_cast<unsigned>(tid) << 3) | 6U);
  timespec time{};
  if (tid < 0 || ::clock_gettime(clock, &time) != 0)
    return base::fail_errno(ESRCH, "processor time of " + thread_text(tid), "name a live thread of this process");
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(time.tv_nsec);
}

Result<std::uint64_t> thread_wait_ns(int tid) {
  const auto path = "/proc/self/task/" + std::to_string(tid) + "/schedstat";
  const auto text = read_small_file(path);
  if (!text) return tl::unexpected(text.error());
  // Time on a processor, time in the queue, number of times.
  const auto blank = text->find(' ');
  if (blank != std::string::npos)
    if (const auto wait = number_of(std::string_view(*text).substr(blank + 1))) return *wait;
  return base::fail_errno(EBADMSG, path + ": \"" + *text + "\"");
}

}  // namespace vmm::os
