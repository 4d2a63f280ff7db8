#include "os/thread.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "os/call.h"
#include "support/eventually.h"

namespace vmm::os {
namespace {

std::string own_name() {
  char name[16] = {};
  ::pthread_getname_np(::pthread_self(), name, sizeof name);
  return name;
}

class FailThreadCreate final : public Interceptor {
 public:
  FailThreadCreate() { set_interceptor(this); }
  ~FailThreadCreate() override { set_interceptor(nullptr); }
  int before(Call which) noexcept override { return which == Call::thread_create ? EAGAIN : 0; }
};

TEST(Thread, RunsTheBodyUnderItsNameAndTid) {
  std::string name;
  int tid = 0;
  auto thread = Thread::start("vmm-fault/7", [&] {
    name = own_name();
    tid = ::gettid();
  });
  ASSERT_TRUE(thread) << thread.error().message();
  EXPECT_TRUE(thread->joinable());
  const int known = thread->tid();
  EXPECT_GT(known, 0);
  EXPECT_NE(known, ::gettid());
  thread->join();
  EXPECT_FALSE(thread->joinable());
  EXPECT_EQ(thread->tid(), 0);
  EXPECT_EQ(name, "vmm-fault/7");
  EXPECT_EQ(tid, known);
}

TEST(Thread, CutsLongNamesToFifteenCharacters) {
  std::string name;
  auto thread = Thread::start("vmm-work/a-long-name", [&] { name = own_name(); });
  ASSERT_TRUE(thread);
  thread->join();
  EXPECT_EQ(name, "vmm-work/a-long");
}

// Hazard 16: a signal pending on a thread that faults makes it spin.
TEST(Thread, BlocksEverySignalAndLeavesTheCreatorsMaskAlone) {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  ::sigaddset(&wanted, SIGUSR2);
  sigset_t original;
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &wanted, &original), 0);

  sigset_t inside;
  ::sigemptyset(&inside);
  auto thread = Thread::start("masked", [&] { ::pthread_sigmask(SIG_SETMASK, nullptr, &inside); });
  ASSERT_TRUE(thread);
  thread->join();
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    // SIGKILL and SIGSTOP cannot be blocked; 32 and 33 belong to the C library.
    if (signal == SIGKILL || signal == SIGSTOP || signal == 32 || signal == 33) continue;
    EXPECT_EQ(::sigismember(&inside, signal), 1) << "signal " << signal;
  }

  sigset_t after;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
  EXPECT_EQ(::sigismember(&after, SIGUSR2), 1);
  EXPECT_EQ(::sigismember(&after, SIGUSR1), ::sigismember(&original, SIGUSR1));
  ::pthread_sigmask(SIG_SETMASK, &original, nullptr);
}

TEST(Thread, FailureToCreateIsAnErrorAndRestoresTheMask) {
  sigset_t before;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  bool ran = false;
  {
    const FailThreadCreate failing;
    auto thread = Thread::start("never", [&] { ran = true; });
    ASSERT_FALSE(thread);
    EXPECT_EQ(thread.error().code.value(), EAGAIN);
    EXPECT_NE(thread.error().operation.find("never"), std::string::npos);
    EXPECT_FALSE(thread.error().remedy.empty());
  }
  EXPECT_FALSE(ran);
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(::sigismember(&after, SIGTERM), ::sigismember(&before, SIGTERM));
}

TEST(Thread, MovesAndJoinsWhatItHeld) {
  std::atomic<int> ended{0};
  std::atomic<bool> go{false};
  auto first = Thread::start("first", [&] {
    go.wait(false);
    ++ended;
  });
  ASSERT_TRUE(first);
  Thread held = std::move(*first);
  EXPECT_FALSE(first->joinable());  // NOLINT(bugprone-use-after-move): moved-from state is part of the contract
  EXPECT_TRUE(held.joinable());
  go = true;
  go.notify_all();
  auto second = Thread::start("second", [&] { ++ended; });
  ASSERT_TRUE(second);
  held = std::move(*second);  // joins the first
  EXPECT_GE(ended.load(), 1);
  held.join();
  EXPECT_EQ(ended.load(), 2);
  held.join();  // nothing left
}

TEST(Thread, TheDestructorJoins) {
  std::atomic<bool> ended{false};
  {
    auto thread = Thread::start("scoped", [&] { ended = true; });
    ASSERT_TRUE(thread);
  }
  EXPECT_TRUE(ended.load());
}

TEST(Thread, ADetachedThreadEndsByItselfAndFreesItsBody) {
  const auto held = std::make_shared<std::atomic<bool>>(false);
  std::weak_ptr<std::atomic<bool>> body = held;
  {
    auto running = Thread::start("on-its-own", [go = held] { go->wait(false); });
    ASSERT_TRUE(running);
    running->detach();
    EXPECT_FALSE(running->joinable());
    running->detach();  // nothing left
  }
  EXPECT_EQ(held.use_count(), 2) << "the thread runs on";
  *held = true;
  held->notify_all();
  EXPECT_TRUE(test::eventually([&] { return held.use_count() == 1; }));
}

TEST(Thread, AThreadThatHasEndedMayBeDetached) {
  const auto held = std::make_shared<int>(0);
  std::atomic<int> tid{0};
  auto ended = Thread::start("ended", [held, &tid] { tid = ::gettid(); });
  ASSERT_TRUE(ended);
  const auto path = "/proc/self/task/" + std::to_string(ended->tid());
  ASSERT_TRUE(test::eventually([&] { return ::access(path.c_str(), F_OK) != 0; }));
  ended->detach();
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Thread, AThreadMayDetachItself) {
  Thread self;
  std::atomic<bool> go{false}, detached{false};
  auto thread = Thread::start("itself", [&] {
    go.wait(false);
    self.detach();
    detached = true;
  });
  ASSERT_TRUE(thread);
  self = std::move(*thread);
  go = true;
  go.notify_all();
  EXPECT_TRUE(test::eventually([&] { return detached.load(); }));
  EXPECT_FALSE(self.joinable());
}

TEST(Thread, AForksChildDoesNotJoinTheParentsThread) {
  std::atomic<bool> go{false};
  auto thread = Thread::start("parent-only", [&] { go.wait(false); });
  ASSERT_TRUE(thread);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    thread->join();
    ::_exit(thread->joinable() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  go = true;
  go.notify_all();
}

}  // namespace
}  // namespace vmm::os
