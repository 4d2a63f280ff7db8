#include "os/process_memory.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "os/call.h"

namespace vmm::os {

Result<ProcessMemory> ProcessMemory::open() {
  const int fd = call(Call::open, [] { return ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC); });
  if (fd < 0) return base::fail_errno(errno, "open(\"/proc/self/statm\")", "mount /proc, or raise RLIMIT_NOFILE");
  ProcessMemory m;
  m.fd_ = FileDescriptor(fd);
  return m;
}

std::uint64_t ProcessMemory::pages() const noexcept {
  char text[128];
  const auto got = call(Call::pread, [&] { return ::pread(fd_.get(), text, sizeof text - 1, 0); });
  if (got <= 0) return 0;
  text[got] = '\0';
  unsigned long long size = 0, resident = 0, shared = 0;
  if (std::sscanf(text, "%llu %llu %llu", &size, &resident, &shared) != 3 || resident < shared) return 0;
  return resident - shared;
}

}  // namespace vmm::os
