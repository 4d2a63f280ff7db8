#include "os/poller.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "os/call.h"

namespace vmm::os {

Result<Doorbell> Doorbell::create() {
  const int fd = call(Call::eventfd, [] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); });
  if (fd < 0) return base::fail_errno(errno, "eventfd", "raise RLIMIT_NOFILE");
  Doorbell d;
  d.fd_ = FileDescriptor(fd);
  return d;
}

void Doorbell::ring() const noexcept {
  const std::uint64_t one = 1;
  // EAGAIN means that the counter is full, so the bell rings already.
  [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
}

void Doorbell::clear() const noexcept {
  std::uint64_t count;
  [[maybe_unused]] const auto got = ::read(fd_.get(), &count, sizeof count);
}

Result<Poller> Poller::create() {
  const int fd = call(Call::epoll_create, [] { return ::epoll_create1(EPOLL_CLOEXEC); });
  if (fd < 0) return base::fail_errno(errno, "epoll_create1", "raise RLIMIT_NOFILE");
  Poller p;
  p.fd_ = FileDescriptor(fd);
  return p;
}

int Poller::add(int fd, std::uint64_t tag) const noexcept {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  return call(Call::epoll_ctl, [&] { return ::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event); }) == 0 ? 0 : errno;
}

int Poller::reserve(int fd, std::uint64_t tag) const noexcept {
  epoll_event event{};
  event.data.u64 = tag;
  return call(Call::epoll_ctl, [&] { return ::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event); }) == 0 ? 0 : errno;
}

int Poller::listen(int fd, std::uint64_t tag) const noexcept {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  return ::epoll_ctl(fd_.get(), EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : errno;
}

int Poller::add(std::span<const int> fds, std::uint64_t tag) const noexcept {
  for (const int fd : fds)
    if (const int e = fd < 0 ? 0 : add(fd, tag)) return e;
  return 0;
}

int Poller::remove(int fd) const noexcept {
  return ::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr) == 0 ? 0 : errno;
}

int Poller::wait(std::uint64_t* tags, int most, int timeout_ms) const noexcept {
  std::array<epoll_event, 64> events;
  const int count = call(Call::epoll_wait, [&] {
    return ::epoll_wait(fd_.get(), events.data(), std::min(most, static_cast<int>(events.size())), timeout_ms);
  });
  for (int i = 0; i < count; ++i) tags[i] = events[static_cast<std::size_t>(i)].data.u64;
  return std::max(count, 0);
}

}  // namespace vmm::os
