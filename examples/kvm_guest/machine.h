// Machine: the smallest virtual machine there is on /dev/kvm: one processor in real mode, whose RAM is given to it.
// Thread-safety: run() and its results belong to one thread; kick() may be called by any while the machine exists.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

struct kvm_run;

class Machine {
 public:
  // Why there is no machine: "" where /dev/kvm can be opened.
  static std::string unavailable();

  // RAM from guest-physical address 0 on. `entry` is where the processor begins.
  Machine(std::span<std::byte> ram, std::uint16_t entry);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // What went wrong in making it; "": nothing.
  const std::string& error() const noexcept { return error_; }

  struct Output {
    std::uint16_t port = 0;  // 0: the machine has stopped, and error() says why
    std::uint32_t value = 0;
  };
  // Runs the processor until it writes to a port. Goes on where a signal has interrupted it.
  Output run();
  // The calling thread is the one that runs the processor from now on.
  void take_thread() noexcept;
  // Sends that thread a signal, as a VMM does that wants its processor's attention.
  void kick() const noexcept;

  std::uint64_t interrupted() const noexcept { return interrupted_; }

 private:
  bool made(const char* what, int result);

  int kvm_ = -1, vm_ = -1, vcpu_ = -1;
  kvm_run* run_ = nullptr;
  std::size_t run_bytes_ = 0;
  std::uint64_t interrupted_ = 0;
  std::atomic<int> thread_{0};
  std::string error_;
};
