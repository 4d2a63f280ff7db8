// Hazard 28 for the socket of statistics: every kind of call that it makes fails at the Nth time, once and for good.
// Either the host is not made, with an error that says why, or it serves again as soon as the call no longer fails;
// nothing is left behind.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "os/call.h"
#include "support/deadline.h"
#include "support/eventually.h"
#include "support/http_client.h"
#include "support/process_state.h"
#include "support/temp_directory.h"
#include "vmm/vmm.h"

namespace vmm::test {
namespace {

using os::Call;

struct SocketCase {
  Call call;
  int error;
};
void PrintTo(const SocketCase& c, std::ostream* out) { *out << os::to_string(c.call); }

// Fails one kind of call from the Nth on, or only the Nth, while `failing`.
class Failure final : public os::Interceptor {
 public:
  Failure(const SocketCase& c, int n, bool for_good) : case_(c), n_(n), for_good_(for_good) {
    os::set_interceptor(this);
  }
  ~Failure() override { os::set_interceptor(nullptr); }
  int before(Call call) noexcept override {
    if (call != case_.call || !failing) return 0;
    const int number = ++seen_;
    if (number < n_ || (number > n_ && !for_good_)) return 0;
    hit = true;
    return case_.error;
  }
  std::atomic<bool> failing{true}, hit{false};

 private:
  const SocketCase& case_;
  const int n_;
  const bool for_good_;
  std::atomic<int> seen_{0};
};

class Hazard28_StatsSocket : public testing::TestWithParam<SocketCase> {};

TEST_P(Hazard28_StatsSocket, FailsAtTheNthTime) {
  const auto& c = GetParam();
  const TempDirectory directory;
  HostOptions options;
  options.memory = 64 * MiB;
  options.swap_directory = directory.path();
  options.stats_socket = directory.file("host.vmm");
  options.scheduler = Scheduler::manual;  // what fails is the socket's
  const auto descriptors = open_descriptors();
  for (const bool for_good : {false, true}) {
    bool hit = true;
    for (int n = 1; hit; ++n) {
      const std::string where = std::string(os::to_string(c.call)) + " call " + std::to_string(n) +
                                (for_good ? " and all after it" : "") + " fails";
      SCOPED_TRACE(where);
      const Deadline deadline(std::chrono::seconds(120), where);
      {
        Failure failure(c, n, for_good);
        {
          auto host = Host::create(options);
          if (!host) {
            EXPECT_FALSE(host.error().message().empty());
            EXPECT_TRUE(failure.hit);
          } else {
            HttpClient waiting(options.stats_socket);
            waiting.send("GET /metrics HTTP/1.1\r\n\r\n");
            // Let go of, or answered by and by; one that is not accepted stays in the kernel's queue.
            if (!for_good) {
              EXPECT_TRUE(eventually([&] { return http_get(options.stats_socket, "/").status == 200; }));
            }
            failure.failing = false;
            EXPECT_TRUE(eventually([&] { return http_get(options.stats_socket, "/metrics").status == 200; }));
            EXPECT_TRUE(host->stats());
            failure.failing = c.call == Call::unlink;  // the host's end makes it
          }
        }
        hit = failure.hit;
        if (n > 40) break;  // calls that come again and again
      }
      // What could not be removed stays, and is replaced by the next host that may.
      if (c.call == Call::unlink && hit) ::unlink(options.stats_socket.c_str());
      EXPECT_TRUE(directory.entries().empty()) << directory.entries().front();
      EXPECT_TRUE(library_threads_gone());
      ASSERT_EQ(open_descriptors(), descriptors);
    }
  }
}

std::string case_name(const testing::TestParamInfo<SocketCase>& info) {
  std::string text = std::string(os::to_string(info.param.call)) + "_" + ::strerrorname_np(info.param.error);
  for (auto& ch : text)
    if (!std::isalnum(static_cast<unsigned char>(ch))) ch = '_';
  return text;
}

INSTANTIATE_TEST_SUITE_P(, Hazard28_StatsSocket,
                         testing::Values(SocketCase{Call::socket, EMFILE}, SocketCase{Call::bind, EACCES},
                                         SocketCase{Call::bind, EADDRINUSE}, SocketCase{Call::listen, EADDRINUSE},
                                         SocketCase{Call::accept, EMFILE}, SocketCase{Call::accept, EAGAIN},
                                         SocketCase{Call::receive, ECONNRESET}, SocketCase{Call::send, EPIPE},
                                         SocketCase{Call::send, EAGAIN}, SocketCase{Call::poll, ENOMEM},
                                         SocketCase{Call::poll, EINTR}, SocketCase{Call::unlink, EACCES},
                                         SocketCase{Call::thread_create, EAGAIN}),
                         case_name);

}  // namespace
}  // namespace vmm::test
