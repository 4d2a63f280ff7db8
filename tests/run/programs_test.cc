// Programs of the distribution do the same work by themselves and in a guest, with all the memory they use, and with
// half of it. Those that are not installed are skipped.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run/in_guest_test.h"
#include "run/measured.h"
#include "support/temp_directory.h"

namespace run_test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class RunPrograms : public InGuestTest {
 protected:
  // The same output, and at half of the memory something was swapped.
  void same_work(const std::vector<std::string>& program) {
    if (!fake::there_is(program.front())) GTEST_SKIP() << program.front() << " is not installed";
    const auto alone = measure(program);
    ASSERT_EQ(alone.status, 0);
    ASSERT_FALSE(alone.out.empty());
    const auto room = run_in_guest({"--memory", "512M"}, program);
    EXPECT_EQ(room.out, alone.out);
    EXPECT_EQ(room.status, 0);
    EXPECT_THAT(room.err, IsEmpty());
    const auto half = run_in_guest({"--memory", half_of(alone.peak), "--size", "1G", "--report-at-exit"}, program);
    EXPECT_EQ(half.out, alone.out);
    EXPECT_EQ(half.status, 0);
    EXPECT_GT(reported(half.err, "swapped out"), 0) << half.err;
  }

  vmm::test::TempDirectory directory_;
};

TEST_F(RunPrograms, Python) { same_work({"/usr/bin/python3", RUN_WORK "/table.py"}); }

TEST_F(RunPrograms, Sqlite) { same_work({"sqlite3", ":memory:", ".read " RUN_WORK "/table.sql"}); }

// redis-server with known values in it, beside which redis-benchmark works.
class Redis {
 public:
  static constexpr const char* kProgram = "/usr/bin/redis-check-rdb";
  static constexpr int kKeys = 40000;
  static constexpr int kValueBytes = 1024;

  Redis(const vmm::test::TempDirectory& directory, const std::vector<std::string>& options)
      : directory_(directory), socket_(directory.file("redis.sock")) {
    // redis-server is another name of the program redis-check-rdb. By this one it comes without a service that runs.
    const auto server = directory.file("redis-server");
    if (::access(server.c_str(), X_OK) != 0) {
      EXPECT_EQ(::symlink(kProgram, server.c_str()), 0) << server;
    }
    std::vector<std::string> words = {
        server,  "--port",         "0",           "--unixsocket", socket_,        "--save", "",
        "--dir", directory.path(), "--daemonize", "no",           "--appendonly", "no"};
    if (!options.empty()) words = in_guest(options, words);
    server_ = std::make_unique<fake::Program>(words);
    while (ask("PING") != "PONG\n" && tries_++ < 3000) continue;
    EXPECT_EQ(ask("PING"), "PONG\n") << server_->out();
  }

  std::string ask(const std::string& command) const { return shell("redis-cli --raw -s " + socket_ + " " + command); }

  void fill() const {
    {
      std::ofstream file(directory_.file("set"));
      for (int i = 0; i < kKeys; ++i) file << "SET known:" << i << " " << value_of(i) << "\r\n";
    }
    EXPECT_THAT(shell("redis-cli -s " + socket_ + " --pipe < " + directory_.file("set")), HasSubstr("errors: 0"));
  }
  void work() const {
    const auto said =
        shell("redis-benchmark -s " + socket_ + " -q -t set,get,incr,lpush,hset -n 10000 -r 20000 -d 300");
    EXPECT_THAT(said, HasSubstr("HSET: "));
  }
  // All values are what they were set to.
  void check() const {
    std::string expected;
    {
      std::ofstream file(directory_.file("get"));
      for (int i = 0; i < kKeys; ++i) {
        file << "GET known:" << i << "\n";
        expected += value_of(i) + "\n";
      }
    }
    EXPECT_TRUE(shell("redis-cli --raw -s " + socket_ + " < " + directory_.file("get")) == expected)
        << "some values differ";
  }
  // Writes dump.rdb by a child, as is usual.
  void save() const {
    EXPECT_THAT(ask("BGSAVE"), StartsWith("Background saving started"));
    while (ask("INFO persistence").find("rdb_bgsave_in_progress:1") != std::string::npos) continue;
    EXPECT_THAT(ask("INFO persistence"), HasSubstr("rdb_last_bgsave_status:ok"));
  }
  fake::Outcome end() {
    ask("SHUTDOWN NOSAVE");
    return server_->end();
  }
  std::uint64_t peak() const {
    const auto info = ask("INFO memory");
    const auto at = info.find("used_memory_rss:");
    return at == std::string::npos ? 0 : std::strtoull(info.c_str() + at + 16, nullptr, 10);
  }

 private:
  static std::string shell(const std::string& line) { return fake::run({"sh", "-c", line + " 2>&1"}).out; }
  static std::string value_of(int i) {
    std::string value;
    for (unsigned n = 0; value.size() < kValueBytes; ++n) value += std::to_string((i + 1) * 2654435761U ^ n * 40503U);
    value.resize(kValueBytes);
    return value;
  }

  const vmm::test::TempDirectory& directory_;
  const std::string socket_;
  std::unique_ptr<fake::Program> server_;
  int tries_ = 0;
};

class RunRedis : public RunPrograms {
 protected:
  void SetUp() override {
    RunPrograms::SetUp();
    if (!IsSkipped() && ::access(Redis::kProgram, X_OK) != 0)
      GTEST_SKIP() << Redis::kProgram << " is not there: redis-tools is not installed";
  }
};

TEST_F(RunRedis, HoldsItsDataInHalfOfItsMemory) {
  std::uint64_t peak = 0;
  {
    Redis alone(directory_, {});
    alone.fill();
    alone.work();
    alone.check();
    peak = alone.peak();
    alone.end();
  }
  ASSERT_GT(peak, std::uint64_t{Redis::kKeys} * Redis::kValueBytes);
  for (const std::string& memory : {std::string("512M"), half_of(peak)}) {
    Redis redis(directory_, {"--memory", memory, "--size", "1G", "--report-at-exit"});
    redis.fill();
    redis.work();
    redis.check();
    const auto outcome = redis.end();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    if (memory != "512M") {
      EXPECT_GT(reported(outcome.err, "swapped out"), 0) << outcome.err;
    }
    EXPECT_LE(reported(outcome.err, "consumed"), reported(outcome.err, "budget")) << outcome.err;
  }
}

// BGSAVE forks: the child writes all that there is, in memory or not; who loads it finds it.
TEST_F(RunRedis, ChildSavesAllOfIt) {
  std::uint64_t peak = 0;
  {
    Redis alone(directory_, {});
    alone.fill();
    peak = alone.peak();
    alone.end();
  }
  {
    Redis redis(directory_, {"--memory", half_of(peak), "--size", "1G", "--report-at-exit"});
    redis.fill();
    redis.save();
    redis.check();
    const auto outcome = redis.end();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_GT(reported(outcome.err, "swapped out"), 0) << outcome.err;
  }
  Redis loaded(directory_, {});
  while (loaded.ask("INFO persistence").find("loading:1") != std::string::npos) continue;
  loaded.check();
  loaded.end();
}

}  // namespace
}  // namespace run_test
