// deny_userfaultfd(): from now on this process, and what it becomes by exec, has no userfaultfd, as in a container
// whose seccomp profile denies it: neither by the system call nor by asking /dev/userfaultfd, if that can be opened.
// Thread-safety: applies to the calling thread and those that it starts; call it in a child that has one thread.
#pragma once

#include <cerrno>
#include <cstddef>
#include <iterator>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace vmm::test {

// `error`: what the system call gets, EPERM or ENOSYS; the device's answer is EPERM. Returns an errno, 0 = done.
inline int deny_userfaultfd(unsigned short error) {
  constexpr unsigned kNewUserfaultfd = 0xaa00;  // USERFAULTFD_IOC_NEW, in headers since Linux 6.1
  const sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args) + sizeof(unsigned long long)),  // low half
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kNewUserfaultfd, 1, 2),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(code)), const_cast<sock_filter*>(code)};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : errno;
}

}  // namespace vmm::test
