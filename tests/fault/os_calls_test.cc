// Hazard 28: every kind of OS call fails at the Nth time, once and for good. Either a clean error, or the scenario
// goes on; never wrong bytes, never a hang, and nothing is left behind.
//
// $VMM_FULL tries every N; otherwise N doubles, or grows fourfold, beyond the first ones.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <tuple>

#include <gtest/gtest.h>

#include "fault/scenario.h"
#include "support/deadline.h"
#include "support/fault_injector.h"
#include "support/process_state.h"
#include "support/temp_directory.h"

namespace vmm::test {
namespace {

using os::Call;

struct CallCase {
  Call call;
  int error;
  // Threads that touch a guest may wait while it fails for good, and go on when it no longer does.
  bool may_wait = false;
  // A page may be lost: its only copy cannot be read.
  bool may_lose = false;
};

const CallCase kCases[] = {
    {Call::mmap, ENOMEM},
    {Call::munmap, ENOMEM},
    {Call::mprotect, ENOMEM},
    {Call::madvise, ENOMEM},
    {Call::madvise, EAGAIN},
    {Call::process_madvise, EBADF, true},
    {Call::mbind, EPERM},
    {Call::mbind, ENOMEM},
    {Call::prctl, EINVAL},
    {Call::userfaultfd, EPERM},
    {Call::userfaultfd, EMFILE},
    {Call::uffd_api, EINVAL},
    {Call::uffd_register, EBUSY},
    {Call::uffd_register, ENOMEM},
    {Call::uffd_unregister, ENOMEM},
    {Call::uffd_copy, EAGAIN, true},
    {Call::uffd_copy, ENOMEM, true},
    {Call::uffd_zeropage, EAGAIN, true},
    {Call::uffd_zeropage, ENOMEM, true},
    {Call::uffd_move, EAGAIN, true},
    {Call::uffd_move, EBUSY, true},
    {Call::uffd_move, ENOMEM, true},
    {Call::uffd_move, EINVAL, true},
    {Call::uffd_wake, EAGAIN, true},
    {Call::uffd_wake, EFAULT, true},
    {Call::uffd_writeprotect, EAGAIN, true},
    {Call::uffd_writeprotect, ENOMEM, true},
    {Call::uffd_poison, EINVAL},
    {Call::uffd_read, EAGAIN, true},
    {Call::uffd_read, EIO, true},
    {Call::pagemap_open, EMFILE},
    {Call::pagemap_open, EACCES},
    {Call::pagemap_scan, ENOMEM, true},
    {Call::pagemap_scan, EINTR, true},
    {Call::pagemap_read, EIO, true},
    {Call::open, EMFILE},
    {Call::open, EACCES},
    {Call::open, ENOSPC},
    {Call::open, EOPNOTSUPP},
    {Call::close, EIO},
    {Call::fallocate, ENOSPC},
    {Call::fallocate, EINTR},
    {Call::fallocate, EFBIG},
    {Call::ftruncate, EIO},
    {Call::pread, EIO, true, true},
    {Call::pread, EAGAIN, true, true},
    {Call::pwrite, EIO, true},
    {Call::pwrite, ENOSPC, true},
    {Call::unlink, EACCES},
    {Call::statvfs, EIO},
    {Call::read_file, EIO},
    {Call::uring_setup, ENOSYS},
    {Call::uring_setup, EPERM},
    {Call::uring_setup, ENOMEM},
    {Call::uring_submit, EAGAIN, true, true},
    {Call::uring_submit, EBUSY, true, true},
    {Call::uring_read, EIO, true, true},
    {Call::uring_read, EAGAIN, true, true},
    {Call::uring_write, EIO, true},
    {Call::uring_write, ENOSPC, true},
    {Call::uring_write, EAGAIN, true},
    {Call::eventfd, EMFILE},
    {Call::epoll_create, EMFILE},
    {Call::epoll_ctl, ENOSPC},
    {Call::epoll_wait, EINTR, true},
    {Call::epoll_wait, EIO, true},
    {Call::timerfd, EMFILE},
    {Call::thread_create, EAGAIN},
    {Call::sched_getaffinity, EPERM},
    {Call::sched_setaffinity, EPERM},
};

// Lifts an injection when the scenario has stopped moving. Says whether it had to.
class Lifter {
 public:
  // `patience`: looks, of 20 ms, that see no progress before it lifts.
  Lifter(const Scenario& scenario, std::atomic<bool>& failing, int patience)
      : thread_([this, &scenario, &failing, patience] {
          auto seen = scenario.progress();
          std::unique_lock lock(mutex_);
          for (int still = 0; !ended_.wait_for(lock, std::chrono::milliseconds(20), [this] { return over_; });) {
            const auto now = scenario.progress();
            still = now == seen ? still + 1 : 0;
            seen = now;
            if (still < patience || !failing.exchange(false)) continue;
            lifted_ = true;
          }
        }) {}
  bool end() {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    ended_.notify_all();
    thread_.join();
    return lifted_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
  std::atomic<bool> lifted_{false};
  std::thread thread_;
};

// Fails one kind of call from the Nth on, or only the Nth, while `failing`.
class Injection final : public os::Interceptor {
 public:
  Injection(const CallCase& c, std::uint64_t n, bool for_good) : case_(c), n_(n), for_good_(for_good) {
    os::set_interceptor(this);
  }
  ~Injection() override { os::set_interceptor(nullptr); }
  int before(Call call) noexcept override {
    if (call != case_.call) return 0;
    const auto number = seen_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (number < n_ || (number > n_ && !for_good_) || !failing.load(std::memory_order_relaxed)) return 0;
    hit.store(true, std::memory_order_relaxed);
    return case_.error;
  }
  std::atomic<bool> failing{true};
  std::atomic<bool> hit{false};

 private:
  const CallCase& case_;
  const std::uint64_t n_;
  const bool for_good_;
  std::atomic<std::uint64_t> seen_{0};
};

std::uint64_t after(std::uint64_t n, bool for_good) {
  static const bool full = std::getenv("VMM_FULL") != nullptr;
  return full || n < 3 ? n + 1 : n * (for_good ? 6 : 3);
}

class Hazard28_OsCalls : public testing::TestWithParam<std::tuple<Way, CallCase>> {};

TEST_P(Hazard28_OsCalls, FailAtTheNthTime) {
  const auto& [way, c] = GetParam();
  if (const auto why = unable(way); !why.empty()) GTEST_SKIP() << why;
  const TempDirectory directory;
  ScenarioOptions options;
  options.way = way;
  options.management = way.isolation == Isolation::move ? Management::on_demand : Management::at_creation;
  options.swap_directory = directory.path();
  const CatchSignals catch_signals;
  {
    Scenario once(options);
    const auto undisturbed = once.run();
    ASSERT_EQ(undisturbed.complaint, "");
    ASSERT_EQ(undisturbed.lost + undisturbed.errors, 0U);
    ASSERT_GT(undisturbed.swapped_out, 0U);
  }
  const auto descriptors = open_descriptors();
  const auto maps = mappings();
  unsigned runs = 0, lifts = 0;
  for (const bool for_good : {false, true}) {
    bool hit = true;
    for (std::uint64_t n = 1; hit; n = after(n, for_good)) {
      const std::string where = std::string(os::to_string(c.call)) + " call " + std::to_string(n) +
                                (for_good ? " and all after it" : "") + " fails with errno " + std::to_string(c.error);
      SCOPED_TRACE(where);
      const Deadline deadline(std::chrono::seconds(120), where);
      Scenario scenario(options);
      Injection injection(c, n, for_good);
      // What may never wait gets long: a slow machine is no hang.
      Lifter lifter(scenario, injection.failing, c.may_wait ? 4 : 1000);
      const auto result = scenario.run();
      const bool lifted = lifter.end() && for_good;
      hit = injection.hit;
      ++runs;
      lifts += lifted ? 1 : 0;
      ASSERT_EQ(result.complaint, "");
      ASSERT_EQ(result.wrong, 0U);
      ASSERT_TRUE(!lifted || c.may_wait) << "hung until the call no longer failed";
      ASSERT_TRUE(result.lost == 0 || (c.may_lose && for_good)) << result.lost << " pages lost";
      ASSERT_TRUE(result.lost == 0 || result.counted_lost > 0) << "a signal without a lost page";
      ASSERT_EQ(open_descriptors(), descriptors);
      ASSERT_TRUE(library_threads_gone());
      ASSERT_TRUE(directory.entries().empty()) << directory.entries().front();
    }
  }
  // An unmapping that the kernel refuses keeps its mapping; all else gives back what it took. Threads of the test
  // and the allocator move a few.
  if (c.call != Call::munmap) {
    EXPECT_LE(mappings(), maps + 8 + runs / 16);
  }
  RecordProperty("runs", static_cast<int>(runs));
  RecordProperty("lifts", static_cast<int>(lifts));
}

std::string case_name(const testing::TestParamInfo<std::tuple<Way, CallCase>>& info) {
  const auto& [way, c] = info.param;
  std::string text = std::string(way.name) + "_" + os::to_string(c.call) + "_" + ::strerrorname_np(c.error);
  for (auto& ch : text)
    if (!std::isalnum(static_cast<unsigned char>(ch))) ch = '_';
  return text;
}

void PrintTo(const CallCase& c, std::ostream* out) { *out << os::to_string(c.call); }

INSTANTIATE_TEST_SUITE_P(, Hazard28_OsCalls,
                         testing::Combine(testing::Values(kMove, kWriteProtect), testing::ValuesIn(kCases)), case_name);

}  // namespace
}  // namespace vmm::test
