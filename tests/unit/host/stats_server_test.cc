// Clients of all kinds neither stop the server nor hold up others.
#include "host/stats_server.h"

#include <poll.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/deadline.h"
#include "support/eventually.h"
#include "support/http_client.h"
#include "support/process_state.h"
#include "support/temp_directory.h"

namespace vmm::host {
namespace {

using test::http_get;
using test::HttpClient;

constexpr std::size_t kLarge = 8U << 20U;  // more than any socket buffers

// /small and /large are answered at once, /slow when the test says so.
class Handler final : public HttpHandler {
 public:
  bool takes_long(const HttpRequest& request) override { return request.path == "/slow"; }
  HttpReply answer(const HttpRequest& request) override {
    HttpReply reply;
    if (request.path == "/slow") {
      std::unique_lock lock(mutex_);
      ++begun;
      changed_.wait(lock, [this] { return released_; });
    }
    if (request.path == "/large") ++large;
    reply.body = request.path == "/large" ? std::string(kLarge, 'x') : request.method + ' ' + request.path;
    return reply;
  }
  void release() {
    std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }
  std::atomic<int> begun{0}, large{0};

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool released_ = false;
};

class StatsServerTest : public testing::Test {
 protected:
  void start() {
    options_.path = path_;
    auto server = StatsServer::create(options_, handler_);
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
  }
  // Clients that do not read yet.
  std::vector<HttpClient> ask_for_large(int count) {
    std::vector<HttpClient> clients;
    for (int i = 0; i < count; ++i) {
      clients.emplace_back(path_);
      EXPECT_TRUE(clients.back().send("GET /large HTTP/1.1\r\n\r\n"));
    }
    return clients;
  }
  void expect_served() { EXPECT_EQ(http_get(path_, "/small").body, "GET /small"); }

  const test::Deadline deadline_{std::chrono::seconds(100), "a client waits for the server"};
  const test::TempDirectory directory_;
  const std::string path_ = directory_.file("s.vmm");
  StatsServerOptions options_;
  Handler handler_;
  std::unique_ptr<StatsServer> server_;
};

TEST_F(StatsServerTest, AnswersAndEnds) {
  start();
  EXPECT_EQ(test::threads_named("vmm-stats"), 1U);
  EXPECT_EQ(test::threads_named("vmm-control"), 0U) << "nobody has asked for what takes long";
  HttpClient client(path_);
  EXPECT_EQ(client.ask("GET", "/small").body, "GET /small");
  EXPECT_EQ(client.ask("HEAD", "/small").body, "");
  EXPECT_EQ(client.ask("GET", "/again").body, "GET /again") << "on the same connection";
  server_->stop();
  EXPECT_TRUE(client.ended());
  EXPECT_TRUE(directory_.entries().empty());
  EXPECT_EQ(HttpClient(path_).error(), ENOENT);
}

TEST_F(StatsServerTest, RequestsInARowAreAnsweredInOrder) {
  start();
  HttpClient client(path_);
  std::string all;
  for (int i = 0; i < 500; ++i) all += "GET /" + std::to_string(i) + " HTTP/1.1\r\n\r\n";
  std::thread writer([&] { EXPECT_TRUE(client.send(all)); });
  for (int i = 0; i < 500; ++i) EXPECT_EQ(client.read().body, "GET /" + std::to_string(i));
  writer.join();
}

TEST_F(StatsServerTest, BytesMayComeOneByOne) {
  start();
  HttpClient client(path_);
  for (const char c : std::string("POST /small HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"))
    EXPECT_TRUE(client.send({&c, 1}));
  EXPECT_EQ(client.read().body, "POST /small");
}

TEST_F(StatsServerTest, HalfClosedClientsGetTheirAnswer) {
  start();
  HttpClient client(path_);
  client.send("GET /small HTTP/1.1\r\n\r\nGET /large HTTP/1.1\r\n\r\n");
  client.end_sending();
  EXPECT_EQ(client.read().body, "GET /small");
  EXPECT_EQ(client.read().body.size(), kLarge);
  EXPECT_TRUE(client.ended());
  HttpClient half(path_);
  half.send("GET /sm");
  half.end_sending();
  EXPECT_TRUE(half.ended());
  expect_served();
}

TEST_F(StatsServerTest, GarbageIsRefusedAndTheConnectionEnds) {
  start();
  const std::pair<std::string, int> cases[] = {{std::string("\0\1\2\3", 4), 400},
                                               {"hello\r\n\r\n", 400},
                                               {"GET / HTTP/3\r\n\r\n", 505},
                                               {"GET /" + std::string(100'000, 'a'), 431},
                                               {"POST /x HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", 413}};
  for (const auto& [text, status] : cases) {
    HttpClient client(path_);
    client.send(text);
    EXPECT_EQ(client.read().status, status) << text.substr(0, 40);
    client.end_sending();
    client.ended();
  }
  expect_served();
}

// However many ask for more than is to wait unread, two answers of that size are made ahead of who reads, and all that
// read have theirs.
TEST_F(StatsServerTest, AnswersWaitUntilOthersAreRead) {
  options_.crowd_time = options_.send_time = std::chrono::hours(1);
  start();
  auto clients = ask_for_large(32);
  int read = 0;
  for (auto& client : clients) {
    EXPECT_EQ(client.read().body.size(), kLarge);
    ++read;
    // The one that has been read, and 16 MiB.
    EXPECT_LE(handler_.large, read + 2);
  }
  EXPECT_EQ(handler_.large, 32);
}

// Where nobody reads, each waits only for crowd_time, and makes room.
TEST_F(StatsServerTest, NobodyReadsAndNobodyWaitsForLong) {
  options_.crowd_time = std::chrono::milliseconds(1);
  start();
  auto slow = ask_for_large(32);
  expect_served();
  int whole = 0;
  for (auto& client : slow) whole += client.read().body.size() == kLarge ? 1 : 0;
  EXPECT_LE(whole, 2) << "nobody has read before all of them were answered";
  EXPECT_EQ(handler_.large, 32);
}

// One that has asked for nothing yet waits for no room: nobody is in a hurry for its sake.
TEST_F(StatsServerTest, WhoAsksForNothingHurriesNobody) {
  options_.crowd_time = std::chrono::nanoseconds(1);
  start();
  HttpClient idle(path_), halfway(path_);
  EXPECT_EQ(idle.ask("GET", "/small").status, 200);
  auto readers = ask_for_large(2);
  ASSERT_TRUE(test::eventually([&] { return handler_.large == 2; }));
  halfway.send("GE");
  halfway.end_sending();
  EXPECT_TRUE(halfway.ended()) << "it has been looked at";
  for (auto& reader : readers) EXPECT_EQ(reader.read().body.size(), kLarge);
  EXPECT_EQ(idle.ask("GET", "/small").status, 200);
}

// Nobody reads 64 large answers; others are served all the same.
TEST_F(StatsServerTest, SlowReadersHoldUpNobody) {
  options_.crowd_time = std::chrono::milliseconds(10);
  start();
  auto slow = ask_for_large(64);
  for (int i = 0; i < 20; ++i) expect_served();
  EXPECT_EQ(slow.back().read().body.size(), kLarge) << "the last ones are served still";
}

// Who comes last is served, and not sent away for the next one.
TEST_F(StatsServerTest, WhoComesInACrowdIsServed) {
  start();
  std::vector<HttpClient> slow;
  for (int i = 0; i < 64; ++i) {
    slow.emplace_back(path_);
    EXPECT_TRUE(slow.back().send("GET /sma"));
  }
  for (int round = 0; round < 10; ++round) {
    std::vector<HttpClient> crowd;
    for (int i = 0; i < 8; ++i) {
      crowd.emplace_back(path_);
      EXPECT_TRUE(crowd.back().send("GET /small HTTP/1.1\r\n\r\n"));
    }
    for (auto& client : crowd) EXPECT_EQ(client.read().status, 200);
  }
}

TEST_F(StatsServerTest, SlowClientsAreLetGo) {
  options_.request_time = options_.idle_time = options_.send_time = std::chrono::milliseconds(50);
  start();
  HttpClient idle(path_), writer(path_), reader(path_);
  writer.send("GET /sma");
  reader.send("GET /large HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(idle.ended());
  EXPECT_TRUE(writer.ended());
  // Nothing is read before it has been let go.
  pollfd gone{reader.fd(), 0, 0};
  ASSERT_EQ(::poll(&gone, 1, -1), 1);
  EXPECT_LT(reader.read().body.size(), kLarge);
}

TEST_F(StatsServerTest, TwoHundredClientsAreServed) {
  start();
  std::vector<HttpClient> idle;
  for (int i = 0; i < 200; ++i) {
    idle.emplace_back(path_);
    ASSERT_EQ(idle.back().error(), 0);
    if (i % 20 == 0) expect_served();
  }
  expect_served();
  // Places are for those that came last.
  EXPECT_TRUE(idle.front().ended());
  EXPECT_EQ(idle.back().ask("GET", "/small").body, "GET /small");
  std::vector<std::thread> threads;
  std::atomic<int> served{0};
  // More than there is place for at a time: who had to make place for another asks again, as agents do.
  for (int i = 0; i < 200; ++i)
    threads.emplace_back([&] {
      while (http_get(path_, "/small").status != 200) std::this_thread::yield();
      ++served;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(served, 200);
  expect_served();
}

TEST_F(StatsServerTest, WhatTakesLongHoldsUpNobody) {
  start();
  HttpClient slow(path_), second(path_), impatient(path_);
  slow.send("POST /slow HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(test::eventually([&] { return handler_.begun == 1; }));
  second.send("POST /slow HTTP/1.1\r\n\r\nGET /after HTTP/1.1\r\n\r\n");
  impatient.send("POST /slow HTTP/1.1\r\n\r\n");
  expect_served();
  impatient.close();
  // Whether the server has seen its end yet cannot be told from outside, but for this: the place is free.
  expect_served();
  handler_.release();
  EXPECT_EQ(slow.read().body, "POST /slow");
  EXPECT_EQ(second.read().body, "POST /slow");
  EXPECT_EQ(second.read().body, "GET /after");
}

TEST_F(StatsServerTest, EndsWhileSomethingTakesLong) {
  start();
  HttpClient slow(path_), second(path_);
  slow.send("POST /slow HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(test::eventually([&] { return handler_.begun == 1; }));
  second.send("POST /slow HTTP/1.1\r\n\r\n");
  server_->stop();
  EXPECT_TRUE(slow.ended());
  EXPECT_TRUE(second.ended());
  handler_.release();
  server_->finish();
  EXPECT_EQ(handler_.begun, 1) << "what had not begun";
}

// Threads that come, ask for something or not, and go, while the server ends.
TEST_F(StatsServerTest, EndsAmongManyClients) {
  start();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      while (!stop) {
        HttpClient client(path_);
        if (client.error() != 0) continue;
        client.send(i % 2 == 0 ? "GET /small HTTP/1.1\r\n\r\n" : "GET /lar");
        if (i % 4 == 0) client.read();
      }
    });
  for (int i = 0; i < 50; ++i) http_get(path_, "/small");
  server_->stop();
  server_.reset();
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(directory_.entries().empty());
}

}  // namespace
}  // namespace vmm::host
