// Poller and Doorbell: epoll, and an eventfd that wakes it.
// Thread-safety: ring() may be called from any thread, fault threads included; a Poller waits in one thread,
// add() and remove() may be called from any.
#pragma once

#include <cstdint>
#include <span>

#include "os/file.h"
#include "vmm/result.h"

namespace vmm::os {

class Doorbell {
 public:
  Doorbell() noexcept = default;
  // Errors: EMFILE, ENFILE, ENOMEM.
  static Result<Doorbell> create();
  void ring() const noexcept;
  // Takes all rings so far.
  void clear() const noexcept;
  int fd() const noexcept { return fd_.get(); }

 private:
  FileDescriptor fd_;
};

class Poller {
 public:
  Poller() noexcept = default;
  // Errors: EMFILE, ENFILE, ENOMEM.
  static Result<Poller> create();
  // `tag` comes back from wait() when fd is readable. Returns an errno.
  int add(int fd, std::uint64_t tag) const noexcept;
  // As add(), but nothing comes back until listen(), which never fails for it.
  int reserve(int fd, std::uint64_t tag) const noexcept;
  int listen(int fd, std::uint64_t tag) const noexcept;
  // Each of `fds` that is not -1.
  int add(std::span<const int> fds, std::uint64_t tag) const noexcept;
  int remove(int fd) const noexcept;
  // Waits for at most `timeout_ms` (-1 = for ever). Returns how many tags were stored, 0 on time-out or signal.
  int wait(std::uint64_t* tags, int most, int timeout_ms) const noexcept;

 private:
  FileDescriptor fd_;
};

}  // namespace vmm::os
