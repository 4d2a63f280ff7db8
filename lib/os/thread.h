// Thread: a named thread with every signal blocked, joined at the latest by the destructor, or left to itself.
//
// Signals are blocked because a thread that faults in the kernel with a signal pending spins until the fault
// is served, and because the application's handlers are not ours to run.
// Thread-safety: one owner at a time; tid() and joinable() may be read by any thread that may read the object.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "vmm/result.h"

namespace vmm::os {

class Thread {
 public:
  // Runs `body` on a new thread and returns once that thread is running under its name (cut to 15
  // characters) and its tid is known. `body` is allocated here, never on the new thread, and lives until
  // the join, or the end of a thread that was detached. It may not throw.
  // Errors: EAGAIN (thread or memory limits, vm.max_map_count), ENOMEM. On error nothing runs.
  static Result<Thread> start(const std::string& name, std::function<void()> body);

  Thread() noexcept;  // no thread
  Thread(Thread&&) noexcept;
  Thread& operator=(Thread&&) noexcept;  // joins what it held
  ~Thread();                             // joins

  bool joinable() const noexcept { return start_ != nullptr; }

  // Waits until the body has returned; nothing if there is no thread, or in a fork's child, where the
  // thread does not exist. Not to be called by the thread itself.
  void join() noexcept;

  // Leaves the thread to itself: it ends when its body returns, and frees the body then. May be called by the
  // thread itself. Nothing if there is no thread, or in a fork's child.
  void detach() noexcept;

  // Kernel thread id; 0 if there is no thread.
  int tid() const noexcept;

 private:
  struct Start;
  explicit Thread(std::unique_ptr<Start> start) noexcept;

  std::unique_ptr<Start> start_;
};

}  // namespace vmm::os
