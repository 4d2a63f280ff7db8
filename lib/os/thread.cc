#include "os/thread.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "os/call.h"

namespace vmm::os {

// Shared between the owner and the thread: freed after the join, or by the last of the two when it was detached.
struct Thread::Start {
  std::function<void()> body;
  char name[16] = {};  // kernel limit, final NUL included
  pthread_t handle{};
  pid_t process = 0;        // the process in which the thread exists
  std::atomic<int> tid{0};  // written once by the thread, before the body runs
  std::atomic<bool> left{false};  // by the owner, who has detached it, or by the thread, whose body has returned

  static void* run(void* argument) noexcept {
    auto* self = static_cast<Start*>(argument);
    // Only fails for names that are too long.
    VMM_CHECK_EQ(::pthread_setname_np(::pthread_self(), self->name), 0);
    self->tid.store(::gettid(), std::memory_order_release);
    self->tid.notify_one();
    self->body();
    if (self->left.exchange(true, std::memory_order_acq_rel)) delete self;
    return nullptr;
  }
};

Result<Thread> Thread::start(const std::string& name, std::function<void()> body) {
  std::unique_ptr<Start> start(new (std::nothrow) Start);
  if (!start) return base::fail_errno(ENOMEM, "start of thread " + name, "free memory in this process");
  start->body = std::move(body);
  std::strncpy(start->name, name.c_str(), sizeof start->name - 1);
  start->process = ::getpid();

  // The mask is inherited: a signal cannot reach the new thread even before its first instruction.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  VMM_CHECK_EQ(::pthread_sigmask(SIG_SETMASK, &all, &before), 0);
  const int created = call(Call::thread_create, [&] {
    const int error = ::pthread_create(&start->handle, nullptr, &Start::run, start.get());
    if (error == 0) return 0;
    errno = error;
    return -1;
  });
  const int error = errno;
  VMM_CHECK_EQ(::pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
  if (created != 0)
    return base::fail_errno(error, "start of thread " + name,
                            "raise RLIMIT_NPROC, the cgroup's pids.max or vm.max_map_count");

  start->tid.wait(0, std::memory_order_acquire);
  return Thread(std::move(start));
}

Thread::Thread() noexcept = default;
Thread::Thread(std::unique_ptr<Start> start) noexcept : start_(std::move(start)) {}
Thread::Thread(Thread&&) noexcept = default;

Thread& Thread::operator=(Thread&& other) noexcept {
  if (this != &other) {
    join();
    start_ = std::move(other.start_);
  }
  return *this;
}

Thread::~Thread() { join(); }

void Thread::join() noexcept {
  if (!start_) return;
  if (::getpid() == start_->process) {
    VMM_CHECK_EQ(::pthread_join(start_->handle, nullptr), 0);
    start_.reset();
  } else {
    // A fork's child: the thread stayed in the parent, and its memory here may be in any state.
    [[maybe_unused]] auto* left_alone = start_.release();
  }
}

void Thread::detach() noexcept {
  if (!start_) return;
  auto* const start = start_.release();
  if (::getpid() != start->process) return;  // as in join()
  VMM_CHECK_EQ(::pthread_detach(start->handle), 0);
  if (start->left.exchange(true, std::memory_order_acq_rel)) delete start;
}

int Thread::tid() const noexcept { return start_ ? start_->tid.load(std::memory_order_acquire) : 0; }

}  // namespace vmm::os
