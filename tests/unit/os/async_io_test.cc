#include "os/async_io.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "os/file.h"
#include "os/mapping.h"
#include "support/fault_injector.h"
#include "support/process_state.h"
#include "support/seed.h"
#include "support/temp_directory.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

using test::NthCallFails;
using Backend = AsyncIo::Backend;

constexpr char kThreadName[] = "vmm-io-test";

class AsyncIoTest : public testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    auto io = AsyncIo::create(GetParam(), 1, kThreadName);
    if (!io && GetParam() == Backend::io_uring) GTEST_SKIP() << "no io_uring here: " << io.error().message();
    ASSERT_TRUE(io) << io.error().message();
    file_ = FileDescriptor(::open(directory_.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!file_.valid())
      file_ = FileDescriptor(::open(directory_.file("data").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    ASSERT_TRUE(file_.valid());
  }

  std::unique_ptr<AsyncIo> make(unsigned depth) {
    auto io = AsyncIo::create(GetParam(), depth, kThreadName);
    EXPECT_TRUE(io) << io.error().message();
    return io ? std::move(*io) : nullptr;
  }

  IoRequest write(const void* from, std::uint32_t bytes, std::uint64_t offset, std::uint64_t tag) const {
    return {IoOp::write, file_.get(), const_cast<void*>(from), bytes, offset, tag};
  }
  IoRequest read(void* to, std::uint32_t bytes, std::uint64_t offset, std::uint64_t tag) const {
    return {IoOp::read, file_.get(), to, bytes, offset, tag};
  }

  // Starts what is queued, waits for everything: result by tag.
  static std::map<std::uint64_t, int> finish(AsyncIo& io) {
    std::map<std::uint64_t, int> results;
    std::array<IoCompletion, 7> some;
    while (const auto count = io.reap(some, true))
      for (const auto& c : std::span(some).first(count)) EXPECT_TRUE(results.emplace(c.tag, c.result).second);
    EXPECT_EQ(io.in_flight(), 0U);
    return results;
  }

  static bool readable(const AsyncIo& io, int timeout_ms) {
    const auto fds = io.event_fds();
    std::array<pollfd, 2> polled{{{fds[0], POLLIN, 0}, {fds[1], POLLIN, 0}}};
    int ready = -1;
    do {
      ready = ::poll(polled.data(), polled.size(), timeout_ms);
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
  }

  test::TempDirectory directory_;
  FileDescriptor file_;
};

TEST_P(AsyncIoTest, IsTheBackEndAskedFor) { EXPECT_EQ(make(4)->backend(), GetParam()); }

TEST_P(AsyncIoTest, WhatIsWrittenIsReadWithManyInFlight) {
  const auto seed = test::seed();
  SCOPED_TRACE(test::seed_note(seed));
  base::Random random(seed);
  constexpr std::uint64_t kRuns = 200;
  constexpr std::uint64_t kSpan = 64 * kPageSize;
  auto from = Mapping::anonymous(kRuns * kSpan).value();
  auto to = Mapping::anonymous(kRuns * kSpan).value();
  for (std::uint64_t i = 0; i < kRuns * kSpan; i += sizeof(std::uint64_t)) {
    const auto word = random.next();
    std::memcpy(from.data() + i, &word, sizeof word);
  }
  std::vector<std::uint32_t> bytes;
  for (std::uint64_t i = 0; i < kRuns; ++i)
    bytes.push_back(static_cast<std::uint32_t>((1 + random.below(64)) * kPageSize));

  for (const IoOp op : {IoOp::write, IoOp::read}) {
    auto io = make(24);
    std::set<std::uint64_t> open;
    std::array<IoCompletion, 5> some;
    for (std::uint64_t i = 0; i < kRuns || !open.empty();) {
      while (i < kRuns) {
        auto& memory = op == IoOp::write ? from : to;
        if (!io->submit({op, file_.get(), memory.data() + i * kSpan, bytes[i], i * kSpan, i})) break;
        open.insert(i++);
      }
      ASSERT_EQ(io->in_flight(), open.size());
      const auto count = io->reap(some, true);
      ASSERT_GT(count, 0U);
      for (const auto& c : std::span(some).first(count)) {
        ASSERT_EQ(c.result, static_cast<int>(bytes[c.tag]));
        ASSERT_EQ(open.erase(c.tag), 1U);
      }
    }
  }
  for (std::uint64_t i = 0; i < kRuns; ++i)
    ASSERT_EQ(std::memcmp(from.data() + i * kSpan, to.data() + i * kSpan, bytes[i]), 0) << "run " << i;
}

TEST_P(AsyncIoTest, RefusesMoreThanDepthAndQueuesNothingThen) {
  for (const unsigned depth : {1U, 3U, 20U, AsyncIo::kMaxDepth}) {
    auto io = make(depth);
    const std::array<char, 8> data = {"written"};
    for (unsigned i = 0; i < depth; ++i) ASSERT_TRUE(io->submit(write(data.data(), 8, i * 8, i))) << i;
    EXPECT_FALSE(io->submit(write(data.data(), 8, 0, 999)));
    EXPECT_EQ(io->in_flight(), depth);
    const auto results = finish(*io);
    EXPECT_EQ(results.size(), depth);
    EXPECT_EQ(results.count(999), 0U);
    ASSERT_TRUE(io->submit(write(data.data(), 8, 0, 1)));
    EXPECT_EQ(finish(*io).at(1), 8);
  }
}

TEST_P(AsyncIoTest, ShortReadAtTheEndOfTheFileIsPassedOn) {
  ASSERT_EQ(::ftruncate(file_.get(), 6000), 0);
  auto io = make(4);
  std::vector<char> buffer(3 * kPageSize);
  ASSERT_TRUE(io->submit(read(buffer.data(), kPageSize, 0, 1)));
  ASSERT_TRUE(io->submit(read(buffer.data() + kPageSize, kPageSize, kPageSize, 2)));
  ASSERT_TRUE(io->submit(read(buffer.data() + 2 * kPageSize, kPageSize, 2 * kPageSize, 3)));
  const std::map<std::uint64_t, int> expected = {{1, 4096}, {2, 6000 - 4096}, {3, 0}};
  EXPECT_EQ(finish(*io), expected);
}

TEST_P(AsyncIoTest, ErrnoOfTheFileIsTheResult) {
  const FileDescriptor read_only(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto io = make(4);
  char byte = 'x';
  ASSERT_TRUE(io->submit({IoOp::write, read_only.get(), &byte, 1, 0, 1}));
  ASSERT_TRUE(io->submit({IoOp::read, -1, &byte, 1, 0, 2}));
  const std::map<std::uint64_t, int> expected = {{1, -EBADF}, {2, -EBADF}};
  EXPECT_EQ(finish(*io), expected);
}

TEST_P(AsyncIoTest, InjectedFailureIsTheResultOfThatRequestOnly) {
  const bool uring = GetParam() == Backend::io_uring;
  char data[4] = {};
  for (const IoOp op : {IoOp::write, IoOp::read}) {
    const Call kind =
        op == IoOp::write ? (uring ? Call::uring_write : Call::pwrite) : (uring ? Call::uring_read : Call::pread);
    auto io = make(4);
    const NthCallFails injected(kind, 2, EIO);
    for (std::uint64_t tag = 0; tag < 4; ++tag) ASSERT_TRUE(io->submit({op, file_.get(), &data[tag], 1, tag, tag}));
    int failed = 0;
    for (const auto& [tag, result] : finish(*io)) {
      if (result == -EIO) ++failed;
      EXPECT_TRUE(result == 1 || result == -EIO) << tag << ": " << result;
    }
    EXPECT_EQ(failed, 1);
    EXPECT_EQ(injected.seen(), 4U);
  }
}

TEST_P(AsyncIoTest, EventDescriptorIsReadableUntilEverythingIsReaped) {
  auto io = make(8);
  std::array<IoCompletion, 2> some;
  EXPECT_FALSE(readable(*io, 0));
  const char data[8] = {};
  for (std::uint64_t i = 0; i < 5; ++i) ASSERT_TRUE(io->submit(write(&data[i], 1, i, i)));
  io->flush();
  std::size_t reaped = 0;
  while (reaped < 5) {
    ASSERT_TRUE(readable(*io, -1));
    reaped += io->reap(some, false);
  }
  // A late ring may be left; a reap that finds nothing takes it away.
  while (readable(*io, 0)) ASSERT_EQ(io->reap(some, false), 0U);
  EXPECT_EQ(io->in_flight(), 0U);
}

TEST_P(AsyncIoTest, ReapWithNothingInFlightDoesNotWait) {
  auto io = make(2);
  std::array<IoCompletion, 2> some;
  EXPECT_EQ(io->reap(some, true), 0U);
  EXPECT_EQ(io->reap(some, false), 0U);
  const char byte = 1;
  ASSERT_TRUE(io->submit(write(&byte, 1, 0, 1)));
  EXPECT_EQ(io->reap({}, true), 0U);
  EXPECT_EQ(finish(*io).size(), 1U);
}

TEST_P(AsyncIoTest, DestructionWaitsForQueuedAndStartedRequests) {
  constexpr std::uint64_t kCount = 32;
  std::vector<char> data(kCount * kPageSize, 'd');
  {
    auto io = make(kCount);
    for (std::uint64_t i = 0; i < kCount; ++i) {
      ASSERT_TRUE(io->submit(write(data.data() + i * kPageSize, kPageSize, i * kPageSize, i)));
      if (i == kCount / 2) io->flush();
    }
  }
  std::vector<char> back(data.size());
  ASSERT_EQ(::pread(file_.get(), back.data(), back.size(), 0), static_cast<ssize_t>(back.size()));
  EXPECT_EQ(back, data);
}

// Hazard 21: past RLIMIT_FSIZE a write also raises SIGXFSZ, which ends a process that does not block it.
TEST_P(AsyncIoTest, WritePastTheFileSizeLimitIsEfbig) {
  auto io = make(2);
  sigset_t size_signal;
  sigset_t before;
  ::sigemptyset(&size_signal);
  ::sigaddset(&size_signal, SIGXFSZ);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &size_signal, &before), 0);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small{kPageSize, limit.rlim_max};
  const std::vector<char> data(kPageSize, 'x');
  ASSERT_TRUE(io->submit(write(data.data(), kPageSize, 0, 1)));
  ASSERT_TRUE(io->submit(write(data.data(), kPageSize, kPageSize, 2)));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto results = finish(*io);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const timespec now{0, 0};
  ::sigtimedwait(&size_signal, nullptr, &now);
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
  const std::map<std::uint64_t, int> expected = {{1, static_cast<int>(kPageSize)}, {2, -EFBIG}};
  EXPECT_EQ(results, expected);
}

TEST_P(AsyncIoTest, DescriptorsAndThreadsAreBackToWhereTheyBegan) {
  const auto descriptors = test::open_descriptors();
  {
    auto io = make(20);
    const char byte = 1;
    for (std::uint64_t i = 0; i < 20; ++i) ASSERT_TRUE(io->submit(write(&byte, 1, i, i)));
    io->flush();
    EXPECT_EQ(test::threads_named(kThreadName), GetParam() == Backend::threads ? 8U : 0U);
  }
  EXPECT_EQ(test::open_descriptors(), descriptors);
  // A joined thread may be listed for an instant longer.
  while (test::threads_named(kThreadName) > 0) std::this_thread::yield();
}

TEST_P(AsyncIoTest, AForkedChildMayDestroyItsCopy) {
  auto io = make(4);
  const char byte = 1;
  ASSERT_TRUE(io->submit(write(&byte, 1, 0, 7)));
  io->flush();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    io.reset();
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(finish(*io).at(7), 1);
}

INSTANTIATE_TEST_SUITE_P(BackEnds, AsyncIoTest, testing::Values(Backend::io_uring, Backend::threads),
                         [](const auto& tested) {
                           return std::string(tested.param == Backend::io_uring ? "IoUring" : "Threads");
                         });

// What only io_uring has: submissions that the kernel refuses.
class UringSubmitTest : public AsyncIoTest {};

TEST_P(UringSubmitTest, AShortLackOfMemoryIsNotSeen) {
  auto io = make(4);
  const char byte = 1;
  for (const int error : {EAGAIN, EINTR, EBUSY, ENOMEM}) {
    ASSERT_TRUE(io->submit(write(&byte, 1, 0, 1)));
    ASSERT_TRUE(io->submit(write(&byte, 1, 1, 2)));
    const NthCallFails injected(Call::uring_submit, 1, error);
    const std::map<std::uint64_t, int> expected = {{1, 1}, {2, 1}};
    EXPECT_EQ(finish(*io), expected);
    EXPECT_EQ(injected.failed(), 1U);
  }
}

TEST_P(UringSubmitTest, RefusedRequestsCompleteWithTheErrorAndTheNextOnesWork) {
  for (const int error : {EAGAIN, EPERM}) {
    auto io = make(4);
    std::array<char, 4> data = {'o', 'l', 'd', '.'};
    std::map<std::uint64_t, int> expected;
    {
      const NthCallFails injected(Call::uring_submit, 1, error, NthCallFails::Repeat::forever);
      for (std::uint64_t tag = 0; tag < 4; ++tag) {
        ASSERT_TRUE(io->submit(write(&data[tag], 1, tag, tag)));
        expected[tag] = -error;
      }
      io->flush();
      EXPECT_TRUE(readable(*io, 0));
      EXPECT_EQ(io->in_flight(), 4U);
      EXPECT_FALSE(io->submit(write(data.data(), 1, 0, 9)));
      EXPECT_EQ(finish(*io), expected);
    }
    data = {'n', 'e', 'w', '.'};
    for (std::uint64_t tag = 0; tag < 4; ++tag) {
      ASSERT_TRUE(io->submit(write(&data[tag], 1, tag, 10 + tag)));
      expected.erase(tag);
      expected[10 + tag] = 1;
    }
    EXPECT_EQ(finish(*io), expected);
    std::array<char, 4> back;
    ASSERT_EQ(::pread(file_.get(), back.data(), 4, 0), 4);
    EXPECT_EQ(back, data);
  }
}

TEST_P(UringSubmitTest, RequestsAlreadyStartedAreNotTouchedByARefusal) {
  auto io = make(8);
  std::array<char, 8> data = {};
  for (std::uint64_t tag = 0; tag < 4; ++tag) ASSERT_TRUE(io->submit(write(&data[tag], 1, tag, tag)));
  io->flush();
  const NthCallFails injected(Call::uring_submit, 1, EPERM, NthCallFails::Repeat::forever);
  for (std::uint64_t tag = 4; tag < 8; ++tag) ASSERT_TRUE(io->submit(write(&data[tag], 1, tag, tag)));
  const auto results = finish(*io);
  ASSERT_EQ(results.size(), 8U);
  for (const auto& [tag, result] : results) EXPECT_EQ(result, tag < 4 ? 1 : -EPERM) << tag;
}

INSTANTIATE_TEST_SUITE_P(BackEnds, UringSubmitTest, testing::Values(Backend::io_uring),
                         [](const auto&) { return std::string("IoUring"); });

TEST(AsyncIoCreateTest, DepthOutOfRangeIsRefused) {
  for (const unsigned depth : {0U, AsyncIo::kMaxDepth + 1}) {
    const auto io = AsyncIo::create(Backend::automatic, depth, kThreadName);
    ASSERT_FALSE(io);
    EXPECT_EQ(io.error().code, std::errc::invalid_argument);
    EXPECT_NE(io.error().operation.find(std::to_string(depth)), std::string::npos);
  }
}

TEST(AsyncIoCreateTest, AutomaticTakesThreadsWhereIoUringIsForbidden) {
  const auto descriptors = test::open_descriptors();
  // 1: io_uring_setup itself, 2: registration of the eventfd.
  for (const std::uint64_t nth : {1U, 2U}) {
    for (const int error : {ENOSYS, EPERM, ENOMEM}) {
      const NthCallFails injected(Call::uring_setup, nth, error);
      const auto io = AsyncIo::create(Backend::automatic, 4, kThreadName);
      ASSERT_TRUE(io) << io.error().message();
      EXPECT_TRUE(injected.failed() == 0 || (*io)->backend() == Backend::threads);
    }
  }
  {
    const NthCallFails injected(Call::uring_setup, 1, EPERM);
    const auto io = AsyncIo::create(Backend::io_uring, 4, kThreadName);
    ASSERT_FALSE(io);
    EXPECT_EQ(io.error().code, std::errc::operation_not_permitted);
    EXPECT_FALSE(io.error().remedy.empty());
  }
  EXPECT_EQ(test::open_descriptors(), descriptors);
}

TEST(AsyncIoCreateTest, ThreadsGoOnWithFewerThanPlannedButNotWithNone) {
  const auto descriptors = test::open_descriptors();
  {
    const NthCallFails injected(Call::thread_create, 1, EAGAIN);
    const auto io = AsyncIo::create(Backend::threads, 4, kThreadName);
    ASSERT_FALSE(io);
    EXPECT_EQ(io.error().code, std::errc::resource_unavailable_try_again);
  }
  {
    const NthCallFails injected(Call::thread_create, 2, EAGAIN, NthCallFails::Repeat::forever);
    auto io = AsyncIo::create(Backend::threads, 4, kThreadName);
    ASSERT_TRUE(io);
    char byte = 0;
    for (std::uint64_t tag = 0; tag < 4; ++tag) ASSERT_TRUE((*io)->submit({IoOp::read, -1, &byte, 1, 0, tag}));
    std::array<IoCompletion, 4> some;
    std::size_t count = 0;
    while (const auto more = (*io)->reap(some, true)) count += more;
    EXPECT_EQ(count, 4U);
  }
  for (const auto backend : {Backend::io_uring, Backend::threads}) {
    const NthCallFails injected(Call::eventfd, 1, EMFILE);
    EXPECT_EQ(AsyncIo::create(backend, 4, kThreadName).error().code, std::errc::too_many_files_open);
  }
  EXPECT_EQ(test::open_descriptors(), descriptors);
}

}  // namespace
}  // namespace vmm::os
