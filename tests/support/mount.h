// mount_own_tmpfs(): what a child process mounts in a mount namespace of its own is gone when it ends, also if it is
// killed.
// Thread-safety: one thread, in a child process.
#pragma once

#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace vmm::test {

// Empty if it worked, else why not.
inline std::string mount_own_tmpfs(const std::string& directory, const char* options) {
  if (::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
      ::mount("none", directory.c_str(), "tmpfs", 0, options) == 0)
    return {};
  return std::string("cannot mount: ") + std::strerror(errno);
}

}  // namespace vmm::test
