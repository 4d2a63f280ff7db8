// StatsServer: HTTP over a Unix socket, from one thread, vmm-stats. No client can hold it up: it waits for none, each
// has deadlines, and there are 64 at most, of which the one that has made no progress for longest makes place for
// another. While 16 MiB of answers are not read nothing more is answered, and who hardly reads goes soon. What takes
// long (HttpHandler::takes_long) is done by a second thread, vmm-control, one thing after the other; it is there from
// the first such request on.
// Thread-safety: made and stopped by one thread; stop() and finish() may be called more than once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "host/http.h"
#include "os/poller.h"
#include "os/thread.h"
#include "os/unix_socket.h"
#include "vmm/result.h"

namespace vmm::host {

// Who answers. Called by the server's threads.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  virtual bool takes_long(const HttpRequest& request) = 0;
  virtual HttpReply answer(const HttpRequest& request) = 0;
};

struct StatsServerOptions {
  std::string path;
  std::size_t most_clients = 64;
  // From the first byte of a request to its last; between requests; without progress of an answer.
  base::Nanos request_time = std::chrono::seconds(10);
  base::Nanos idle_time = std::chrono::seconds(60);
  base::Nanos send_time = std::chrono::seconds(30);
  // For each MiB of an answer, while others wait for theirs because too much is not read.
  base::Nanos crowd_time = std::chrono::milliseconds(250);
};

class StatsServer {
 public:
  // `handler` outlives it. Errors: those of UnixListener::open, EMFILE, EAGAIN (threads).
  static Result<std::unique_ptr<StatsServer>> create(const StatsServerOptions& options, HttpHandler& handler);
  ~StatsServer();

  // Nothing is answered any more, clients see the end, and the socket is gone. Does not wait for what takes long.
  void stop() noexcept;
  // Waits for what takes long and has begun; what has not is dropped. After stop().
  void finish() noexcept;

 private:
  enum class State : std::uint8_t { reading, waiting, sending };  // waiting: for what takes long
  struct Client {
    os::FileDescriptor fd;
    std::uint64_t id = 0;
    State state = State::reading;
    std::string input;       // not yet answered
    std::string head, body;  // of the answer
    std::size_t sent = 0;
    bool ended = false;  // it sends nothing more
    bool keep = true;    // the connection, after the answer
    bool head_only = false;
    bool more = false;       // there may be another request in `input`
    bool held_back = false;  // there is one, and no room for its answer
    base::Nanos since{};  // last progress, or the first byte of the request
    base::Nanos made{};   // when the answer was
  };
  // What takes long: it goes from one list to the next, and needs memory only when it is made.
  struct Job {
    std::uint64_t client = 0;
    HttpRequest request;
    HttpReply reply;
  };

  StatsServer(const StatsServerOptions& options, HttpHandler& handler) : options_(options), handler_(handler) {}
  void run() noexcept;
  bool look();
  void accept_clients(base::Nanos now);
  bool make_place();
  // Whether another answer may be made.
  bool has_room() const noexcept;
  // Whether step() has something to look at that has come before.
  bool has_step(const Client& client) const noexcept;
  // False: the client is to go.
  bool serve(Client& client, const os::SocketWait& wait, base::Nanos now);
  bool receive(Client& client, base::Nanos now);
  void forget_answer(Client& client) noexcept;
  bool send(Client& client, base::Nanos now);
  bool step(Client& client, base::Nanos now);
  void reply(Client& client, HttpReply reply, base::Nanos now);
  bool begin_long(Client& client, HttpRequest request);
  void take_done(base::Nanos now);
  void drop(Client& client) noexcept;
  base::Nanos deadline(const Client& client) const noexcept;
  int patience(base::Nanos now) const noexcept;
  void run_long() noexcept;

  const StatsServerOptions options_;
  HttpHandler& handler_;
  os::UnixListener listener_;
  os::Doorbell bell_;
  std::atomic<bool> stop_{false};

  // The thread's own.
  std::vector<std::unique_ptr<Client>> clients_;
  std::uint64_t next_id_ = 1;
  base::Nanos accept_again_{};  // after a lack of descriptors
  std::size_t unread_ = 0;      // bytes of the answers that are not sent to their ends
  bool crowded_ = false;        // somebody waits for room

  base::Mutex mutex_{base::LockRank::leaf};
  base::CondVar changed_;
  std::list<Job> jobs_ VMM_GUARDED_BY(mutex_);
  std::list<Job> done_ VMM_GUARDED_BY(mutex_);
  bool no_more_ VMM_GUARDED_BY(mutex_) = false;

  os::Thread long_thread_;  // started by thread_
  os::Thread thread_;
};

}  // namespace vmm::host
