#include "kvm_guest/machine.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace {

constexpr int kKick = SIGUSR1;

void nothing(int) {}

}  // namespace

std::string Machine::unavailable() {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) return std::string("/dev/kvm: ") + std::strerror(errno);
  close(kvm);
  return {};
}

bool Machine::made(const char* what, int result) {
  if (result >= 0) return true;
  error_ = std::string(what) + ": " + std::strerror(errno);
  return false;
}

Machine::Machine(std::span<std::byte> ram, std::uint16_t entry) {
  struct sigaction action {};
  action.sa_handler = nothing;  // without SA_RESTART: KVM_RUN returns EINTR
  sigaction(kKick, &action, nullptr);

  if (!made("/dev/kvm", kvm_ = open("/dev/kvm", O_RDWR | O_CLOEXEC))) return;
  if (!made("KVM_CREATE_VM", vm_ = ioctl(kvm_, KVM_CREATE_VM, 0))) return;
  // Older processors of Intel's run real mode in a task of their own, for which KVM needs three pages that are no RAM.
  if (!made("KVM_SET_TSS_ADDR", ioctl(vm_, KVM_SET_TSS_ADDR, 0xfffbd000UL))) return;
  kvm_userspace_memory_region region{};
  region.memory_size = ram.size();
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(ram.data());
  if (!made("KVM_SET_USER_MEMORY_REGION", ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &region))) return;
  if (!made("KVM_CREATE_VCPU", vcpu_ = ioctl(vm_, KVM_CREATE_VCPU, 0))) return;
  const int bytes = ioctl(kvm_, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (!made("KVM_GET_VCPU_MMAP_SIZE", bytes)) return;
  void* shared = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_, 0);
  if (!made("mmap of the processor", shared == MAP_FAILED ? -1 : 0)) return;
  run_ = static_cast<kvm_run*>(shared);
  run_bytes_ = static_cast<std::size_t>(bytes);

  kvm_sregs segments{};
  if (!made("KVM_GET_SREGS", ioctl(vcpu_, KVM_GET_SREGS, &segments))) return;
  segments.cs.base = 0;
  segments.cs.selector = 0;
  if (!made("KVM_SET_SREGS", ioctl(vcpu_, KVM_SET_SREGS, &segments))) return;
  kvm_regs registers{};
  registers.rip = entry;
  registers.rflags = 2;
  made("KVM_SET_REGS", ioctl(vcpu_, KVM_SET_REGS, &registers));
}

Machine::~Machine() {
  if (run_ != nullptr) munmap(run_, run_bytes_);
  for (const int descriptor : {vcpu_, vm_, kvm_})
    if (descriptor >= 0) close(descriptor);
}

Machine::Output Machine::run() {
  for (;;) {
    if (ioctl(vcpu_, KVM_RUN, 0) < 0) {
      if (errno == EINTR || errno == EAGAIN) {
        ++interrupted_;
        continue;
      }
      made("KVM_RUN", -1);
      return {};
    }
    if (run_->exit_reason != KVM_EXIT_IO || run_->io.direction != KVM_EXIT_IO_OUT) {
      error_ = "the processor stopped, KVM_EXIT " + std::to_string(run_->exit_reason);
      return {};
    }
    Output output{run_->io.port, 0};
    std::memcpy(&output.value, reinterpret_cast<const char*>(run_) + run_->io.data_offset, run_->io.size);
    return output;
  }
}

void Machine::take_thread() noexcept { thread_ = gettid(); }

void Machine::kick() const noexcept {
  if (const int thread = thread_; thread != 0) syscall(SYS_tgkill, getpid(), thread, kKick);
}
