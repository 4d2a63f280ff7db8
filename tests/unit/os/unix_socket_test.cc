#include "os/unix_socket.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "os/thread.h"
#include "support/call_hook.h"
#include "support/child.h"
#include "support/eventually.h"
#include "support/http_client.h"
#include "support/temp_directory.h"

namespace vmm::os {
namespace {

using test::HttpClient;

mode_t mode_of(const std::string& path) {
  struct stat there {};
  return ::lstat(path.c_str(), &there) == 0 ? there.st_mode : 0;
}

class UnixSocket : public testing::Test {
 protected:
  const test::TempDirectory directory_;
  const std::string path_ = directory_.file("s.vmm");
};

TEST_F(UnixSocket, IsThereForThisUserAloneAndGoesAgain) {
  for (const mode_t mask : {0U, 022U, 0777U}) {
    const auto before = ::umask(mask);
    auto listener = UnixListener::open(path_);
    ::umask(before);
    ASSERT_TRUE(listener) << listener.error().message();
    EXPECT_EQ(mode_of(path_), S_IFSOCK | 0600U) << "umask " << mask;
    EXPECT_FALSE(listener->accept().fd.valid()) << "nobody has come";
    EXPECT_EQ(listener->accept().error, 0);
    const HttpClient client(path_);
    EXPECT_EQ(client.error(), 0);
    EXPECT_TRUE(listener->accept().fd.valid());
    listener->close();
    EXPECT_TRUE(directory_.entries().empty());
  }
}

// It has its file, and does not listen yet: for another it looks like one that nobody listens at any more. One of them
// has it in the end, and the other knows that it has not.
TEST_F(UnixSocket, OfTwoThatComeAtOnceOneIsRefused) {
  test::CallHook hook;
  hook.hold(Call::listen, "first");
  std::optional<Result<UnixListener>> first;
  auto thread = Thread::start("first", [&] { first.emplace(UnixListener::open(path_)); });
  ASSERT_TRUE(thread);
  ASSERT_TRUE(test::eventually([&] { return hook.held() == 1; }));
  const auto second = UnixListener::open(path_);
  hook.release();
  thread->join();
  ASSERT_TRUE(first);
  EXPECT_NE(first->has_value(), second.has_value());
  const auto& refused = second ? *first : second;
  EXPECT_EQ(refused.error().code.value(), EADDRINUSE);
  EXPECT_EQ(HttpClient(path_).error(), 0) << "there is one that can be reached";
  EXPECT_EQ(directory_.entries().size(), 1u);
}

TEST_F(UnixSocket, OneThatIsInUseIsRefused) {
  auto first = UnixListener::open(path_);
  ASSERT_TRUE(first);
  const auto second = UnixListener::open(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code.value(), EADDRINUSE);
  EXPECT_NE(second.error().operation.find(path_), std::string::npos);
  EXPECT_EQ(HttpClient(path_).error(), 0) << "the first is there still";
}

TEST_F(UnixSocket, OneThatNobodyListensAtIsReplaced) {
  // A process that is killed leaves its file.
  const auto end = test::in_child([&](test::Findings& findings) {
    const auto* const never_closed = new Result<UnixListener>(UnixListener::open(path_));
    findings.check(*never_closed, "open");
  });
  ASSERT_TRUE(end.well()) << end.describe();
  ASSERT_EQ(directory_.entries().size(), 1U);
  EXPECT_EQ(HttpClient(path_).error(), ECONNREFUSED);
  auto listener = UnixListener::open(path_);
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_EQ(HttpClient(path_).error(), 0);
  EXPECT_EQ(directory_.entries().size(), 1U);
}

// Whoever listens there is gone, but a child of it has the descriptor and does not know.
TEST_F(UnixSocket, OneThatOnlyAnOrphanHasIsReplaced) {
  int ready[2], go[2];
  ASSERT_EQ(::pipe(ready) | ::pipe(go), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto listener = UnixListener::open(path_);
    if (::fork() == 0) {
      char byte;
      ::close(go[1]);
      while (::read(go[0], &byte, 1) > 0) continue;
      ::_exit(0);
    }
    const char well = listener ? 'y' : 'n';
    ::_exit(::write(ready[1], &well, 1) == 1 ? 0 : 1);
  }
  char well = 'n';
  ASSERT_EQ(::read(ready[0], &well, 1), 1);
  ASSERT_EQ(well, 'y');
  int status;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(HttpClient(path_).error(), 0) << "the kernel still takes connections";
  const auto listener = UnixListener::open(path_);
  EXPECT_TRUE(listener) << listener.error().message();
  for (const int fd : {ready[0], ready[1], go[0], go[1]}) ::close(fd);
}

TEST_F(UnixSocket, OtherFilesAreLeftAlone) {
  std::ofstream(path_) << "data";
  auto listener = UnixListener::open(path_);
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code.value(), EEXIST);
  std::string text;
  std::ifstream(path_) >> text;
  EXPECT_EQ(text, "data");
  const auto link = directory_.file("link.vmm");
  ASSERT_EQ(::symlink(path_.c_str(), link.c_str()), 0);
  EXPECT_FALSE(UnixListener::open(link));
  EXPECT_FALSE(UnixListener::open(directory_.path()));
  EXPECT_EQ(UnixListener::open(directory_.file("none/s.vmm")).error().code.value(), ENOENT);
  EXPECT_EQ(directory_.entries().size(), 2U);
}

// What has taken the place of a socket meanwhile is not removed at its end.
TEST_F(UnixSocket, ItsEndRemovesItsOwnFileOnly) {
  auto listener = UnixListener::open(path_);
  ASSERT_TRUE(listener);
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  std::ofstream(path_) << "data";
  listener->close();
  EXPECT_EQ(directory_.entries().size(), 1U);
}

TEST_F(UnixSocket, AChildDoesNotRemoveIt) {
  auto listener = UnixListener::open(path_);
  ASSERT_TRUE(listener);
  const auto end = test::in_child([&](test::Findings&) { listener->close(); });
  EXPECT_TRUE(end.well()) << end.describe();
  EXPECT_EQ(HttpClient(path_).error(), 0);
}

// Root may open any file: who comes is asked for by the socket itself.
TEST_F(UnixSocket, AnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: cannot become another user";
  auto listener = UnixListener::open(path_);
  ASSERT_TRUE(listener);
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
  const auto as_nobody = [&](int expected) {
    return test::in_child([&](test::Findings& findings) {
      findings.check(::setuid(65534) == 0, "setuid");
      HttpClient client(path_);
      findings.check_equal(client.error(), expected, "connect");
      if (client.error() == 0) findings.check(client.ended(), "the connection was not ended");
    });
  };
  auto end = as_nobody(EACCES);
  EXPECT_TRUE(end.well()) << end.describe();
  // Somebody has opened the file to all.
  ASSERT_EQ(::chmod(path_.c_str(), 0777), 0);
  std::thread server([&] {
    SocketWait wait{listener->fd(), true, false};
    while (!wait.readable) wait_for_sockets({&wait, 1}, -1);
    EXPECT_FALSE(listener->accept().fd.valid());
  });
  end = as_nobody(0);
  EXPECT_TRUE(end.well()) << end.describe();
  server.join();
}

}  // namespace
}  // namespace vmm::os
