#include "os/affinity.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "os/call.h"
#include "os/thread.h"

namespace vmm::os {
namespace {

// Fails one kind of call its first `times` times.
class FailFirst final : public Interceptor {
 public:
  FailFirst(Call which, int error, int times) : which_(which), error_(error), left_(times) { set_interceptor(this); }
  ~FailFirst() override { set_interceptor(nullptr); }
  int before(Call which) noexcept override {
    if (which != which_) return 0;
    ++calls_;
    return left_-- > 0 ? error_ : 0;
  }
  int calls() const { return calls_; }

 private:
  Call which_;
  int error_;
  int left_;
  int calls_ = 0;
};

TEST(Affinity, GetAgreesWithTheKernelsOwnSet) {
  cpu_set_t set;
  ASSERT_EQ(::sched_getaffinity(0, sizeof set, &set), 0) << "more than 1,024 processors";
  const auto cpus = thread_affinity(0);
  ASSERT_TRUE(cpus) << cpus.error().message();
  EXPECT_EQ(static_cast<int>(cpus->size()), CPU_COUNT(&set));
  for (const int cpu : *cpus) EXPECT_TRUE(CPU_ISSET(cpu, &set)) << cpu;
  EXPECT_TRUE(std::is_sorted(cpus->begin(), cpus->end()));
}

TEST(Affinity, SetBindsAnotherThreadAndOnlyIt) {
  const auto allowed = thread_affinity(0);
  ASSERT_TRUE(allowed);
  std::atomic<bool> bound{false};
  std::atomic<int> ran_on{-1};
  auto thread = Thread::start("bound", [&] {
    bound.wait(false);
    ran_on = ::sched_getcpu();
  });
  ASSERT_TRUE(thread);
  const int last = allowed->back();
  const auto set = set_thread_affinity(thread->tid(), {last});
  ASSERT_TRUE(set) << set.error().message();
  EXPECT_EQ(thread_affinity(thread->tid()).value(), std::vector<int>{last});
  bound = true;
  bound.notify_all();
  thread->join();
  EXPECT_EQ(ran_on.load(), last);
  EXPECT_EQ(thread_affinity(0).value(), *allowed);
}

TEST(Affinity, RestoresWhatItFound) {
  const auto before = thread_affinity(current_tid());
  ASSERT_TRUE(before);
  ASSERT_TRUE(set_thread_affinity(0, {before->front()}));
  EXPECT_EQ(thread_affinity(0)->size(), 1U);
  ASSERT_TRUE(set_thread_affinity(0, *before));
  EXPECT_EQ(thread_affinity(0).value(), *before);
}

TEST(Affinity, LeavesAProcessorAndMayStillRunOnAll) {
  const auto allowed = *thread_affinity(0);
  if (allowed.size() < 2) GTEST_SKIP() << "this process may run on one processor only";
  for (const int cpu : allowed) {
    ASSERT_TRUE(set_thread_affinity(0, {cpu}));
    ASSERT_EQ(current_processor(), cpu);
    leave_processor(cpu);
    EXPECT_EQ(*thread_affinity(0), std::vector<int>{cpu}) << "there is nowhere to go";
    ASSERT_TRUE(set_thread_affinity(0, allowed));
    leave_processor(cpu);
    EXPECT_EQ(*thread_affinity(0), allowed);
  }
}

TEST(Affinity, WhereThatIsForbiddenAThreadStaysWhereItIs) {
  const auto allowed = *thread_affinity(0);
  for (const auto which : {Call::sched_getaffinity, Call::sched_setaffinity}) {
    FailFirst fail(which, EPERM, 1);
    leave_processor(current_processor());
  }
  leave_processor(-1);
  leave_processor(1 << 20);
  EXPECT_EQ(*thread_affinity(0), allowed);
}

TEST(Affinity, AMaskThatIsTooShortGrows) {
  const FailFirst many_processors(Call::sched_getaffinity, EINVAL, 3);
  const auto cpus = thread_affinity(0);
  ASSERT_TRUE(cpus) << cpus.error().message();
  EXPECT_FALSE(cpus->empty());
  EXPECT_EQ(many_processors.calls(), 4);
}

TEST(Affinity, AKernelThatAlwaysSaysEinvalIsAnError) {
  const FailFirst always(Call::sched_getaffinity, EINVAL, 1000);
  const auto cpus = thread_affinity(0);
  ASSERT_FALSE(cpus);
  EXPECT_EQ(cpus.error().code.value(), EINVAL);
}

TEST(Affinity, BadInputIsAnErrorThatNamesIt) {
  const auto before = thread_affinity(0).value();
  struct Case {
    const char* name;
    int tid;
    std::vector<int> cpus;
    int error;
    const char* names;
  };
  const int no_thread = 0x3fffffff;
  for (const Case& c : {Case{"none", 0, {}, EINVAL, "none"}, Case{"negative", 0, {-1}, EINVAL, "-1"},
                        Case{"beyond every machine", 0, {1 << 30}, EINVAL, "1073741824"},
                        Case{"not in this machine", 0, {65000}, EINVAL, "65000"},
                        Case{"no such thread", no_thread, before, ESRCH, "1073741823"}}) {
    const auto result = set_thread_affinity(c.tid, c.cpus);
    ASSERT_FALSE(result) << c.name;
    EXPECT_EQ(result.error().code.value(), c.error) << c.name;
    EXPECT_NE(result.error().operation.find(c.names), std::string::npos) << c.name << ": " << result.error().operation;
    EXPECT_FALSE(result.error().remedy.empty()) << c.name;
  }
  EXPECT_EQ(thread_affinity(0).value(), before);
  EXPECT_EQ(thread_affinity(no_thread).error().code.value(), ESRCH);
}

TEST(Affinity, AFailureOfTheKernelIsPassedOn) {
  const FailFirst failing(Call::sched_setaffinity, EPERM, 1);
  const auto result = set_thread_affinity(0, {0});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code.value(), EPERM);
}

TEST(Affinity, ProcessorTimeGrowsWithWorkAndIsReadableFromOutside) {
  std::atomic<int> phase{0};
  auto thread = Thread::start("busy", [&] {
    volatile unsigned long sum = 0;
    for (unsigned long i = 0; i < 20'000'000; ++i) sum = sum + i;
    phase = 1;
    phase.notify_all();
    phase.wait(1);
  });
  ASSERT_TRUE(thread);
  phase.wait(0);
  const auto outside = thread_cpu_ns(thread->tid());
  ASSERT_TRUE(outside) << outside.error().message();
  EXPECT_GT(*outside, 1'000'000U);
  const auto own = thread_cpu_ns(0);
  ASSERT_TRUE(own);
  EXPECT_LE(*own, thread_cpu_ns(current_tid()).value());
  phase = 2;
  phase.notify_all();
  thread->join();
  EXPECT_EQ(thread_cpu_ns(-5).error().code.value(), ESRCH);
  // A thread of another process; the first process of a container sees no parent.
  if (::getppid() > 0) {
    EXPECT_EQ(thread_cpu_ns(::getppid()).error().code.value(), ESRCH);
  }
}

// Two threads on one processor: one of them waits while the other runs.
TEST(Affinity, TimeThatIsWaitedForAProcessorIsCounted) {
  const auto all = thread_affinity(0).value();
  const auto one = std::vector<int>{all.front()};
  ASSERT_TRUE(set_thread_affinity(0, one));
  std::atomic<bool> over{false};
  std::atomic<int> tid{0};
  std::thread busy([&] {
    tid = current_tid();
    volatile unsigned long sum = 0;
    while (!over) sum = sum + 1;
  });
  while (tid == 0) std::this_thread::yield();
  const auto before = thread_wait_ns(tid);
  ASSERT_TRUE(before) << before.error().message();
  const auto own = thread_cpu_ns(0).value();
  // The other waits for as long as this one works, but for what the kernel has not told yet.
  while (thread_wait_ns(tid).value() < *before + 20'000'000) {
    ASSERT_LT(thread_cpu_ns(0).value(), own + 20'000'000'000) << "it never waits";
  }
  over = true;
  busy.join();
  ASSERT_TRUE(set_thread_affinity(0, all));
  EXPECT_EQ(thread_wait_ns(-5).error().code.value(), ENOENT);
}

}  // namespace
}  // namespace vmm::os
