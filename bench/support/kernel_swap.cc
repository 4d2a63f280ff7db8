#include "support/kernel_swap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/memory.h"
#include "vmm/units.h"

namespace vmm::bench {

KernelSwap::KernelSwap(const std::string& program, const std::string& directory, std::uint64_t bytes)
    : path_(directory + "/vmm-bench-swap." + std::to_string(::getpid())),
      guardian_({program, "--swap-guardian", path_}) {
  if (::geteuid() != 0) throw std::runtime_error("swapon needs root");
  std::string no_group;
  group_ = MemoryCgroup::create(no_group);
  if (!group_) throw std::runtime_error(no_group);
  const auto failed = [&](const std::string& reason) { return std::runtime_error(reason + " " + path_); };
  const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) throw failed(std::string("open: ") + std::strerror(errno));
  // Written, not only reserved: swapon refuses files with holes, and file systems differ in what is one.
  const std::vector<char> zeros(MiB);
  bool written = true;
  for (std::uint64_t at = 0; at < bytes && written; at += zeros.size())
    written = ::pwrite(fd, zeros.data(), zeros.size(), static_cast<off_t>(at)) == static_cast<ssize_t>(zeros.size());
  written = written && ::fsync(fd) == 0;
  ::close(fd);
  if (!written) throw failed("cannot write");
  if (run_program({"mkswap", path_}) != 0) throw failed("mkswap failed on");
  if (::swapon(path_.c_str(), 0) != 0) throw failed(std::string("swapon: ") + std::strerror(errno));
}

int KernelSwap::guard(const char* path) noexcept {
  wait_for_end_of_input();
  // While a process that was killed still holds pages in it, there may be no memory for them: it ends soon.
  for (int i = 0; i < 300 && ::swapoff(path) != 0 && (errno == ENOMEM || errno == EINTR); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  ::unlink(path);
  return 0;
}

void KernelSwap::push_out(std::span<std::byte> memory) const {
  constexpr std::uint64_t kFew = 256 * KiB;
  // A page whose write is under way is taken by a later call.
  for (int i = 0; i < 20 && read_smaps(memory).rss > kFew; ++i) ::madvise(memory.data(), memory.size(), MADV_PAGEOUT);
}

void KernelSwap::empty_cache() const {
  constexpr std::uint64_t kFew = 8 * MiB;
  const auto cached = [] {
    std::ifstream file("/proc/meminfo");
    std::string key;
    for (std::uint64_t kib = 0; file >> key;)
      if (key == "SwapCached:" && file >> kib) return kib * KiB;
    return std::uint64_t{0};
  };
  for (int i = 0; i < 20 && cached() > kFew; ++i)
    if (!group_->reclaim_all()) break;
  if (cached() > kFew) throw std::runtime_error("the kernel keeps what it has swapped out in its swap cache");
}

}  // namespace vmm::bench
