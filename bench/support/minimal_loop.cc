#include "support/minimal_loop.h"

#include <fcntl.h>
#include <pthread.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace vmm::bench {

MinimalLoop::MinimalLoop(std::uint64_t bytes) : bytes_(bytes), memory_(bytes + kPageSize, Pages::small) {
  const auto fail = [&](const char* call) {
    const std::string reason = std::string(call) + ": " + std::strerror(errno);
    if (fd_ >= 0) ::close(fd_);
    throw std::runtime_error(reason);
  };
  fd_ = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC));
  if (fd_ < 0) fail("userfaultfd");
  uffdio_api api{};
  api.api = UFFD_API;
  if (::ioctl(fd_, UFFDIO_API, &api) != 0) fail("UFFDIO_API");
  uffdio_register range{};
  range.range = {reinterpret_cast<std::uintptr_t>(memory_.memory().data()), memory_.memory().size()};
  range.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (::ioctl(fd_, UFFDIO_REGISTER, &range) != 0) fail("UFFDIO_REGISTER");
  page_.fill(std::byte{7});
  thread_ = std::thread([this] { run(); });
  ::pthread_setname_np(thread_.native_handle(), kThreadName);
}

MinimalLoop::~MinimalLoop() {
  memory_.drop();
  stop_ = true;
  *const_cast<volatile std::byte*>(memory_.memory().data() + bytes_) = std::byte{0};
  thread_.join();
  ::close(fd_);
}

void MinimalLoop::run() noexcept {
  while (!stop_) {
    uffd_msg message;
    if (::read(fd_, &message, sizeof message) != static_cast<ssize_t>(sizeof message)) continue;
    uffdio_copy copy{};
    copy.dst = message.arg.pagefault.address & ~(kPageSize - 1);
    copy.src = reinterpret_cast<std::uintptr_t>(page_.data());
    copy.len = kPageSize;
    ::ioctl(fd_, UFFDIO_COPY, &copy);
  }
}

}  // namespace vmm::bench
