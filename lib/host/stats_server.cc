#include "host/stats_server.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <utility>

namespace vmm::host {
namespace {

constexpr std::size_t kMiB = 1U << 20U;
constexpr std::size_t kMostInput = kMostHttpHead + sizeof "\r\n\r\n" + kMostHttpBody;
// Of answers that are not read, all clients together, beside one.
constexpr std::size_t kMostUnread = 16 * kMiB;
// After accept() has found no descriptor or no memory.
constexpr base::Nanos kAcceptAgain = std::chrono::milliseconds(100);
// After a wait that the kernel has refused.
constexpr base::Nanos kNextTry = std::chrono::milliseconds(10);

base::Nanos now() noexcept { return std::chrono::steady_clock::now().time_since_epoch(); }

HttpReply refusal(int status, const char* error) {
  HttpReply reply;
  reply.status = status;
  reply.body = std::string("{\"error\":\"") + error + "\",\"remedy\":\"\"}\n";
  return reply;
}

const char* text_of(int status) noexcept {
  switch (status) {
    case 413: return "the body of the request is too large";
    case 431: return "the head of the request is too large";
    case 501: return "the body of the request has no length";
    case 505: return "the version of HTTP is none of 1.0 and 1.1";
    default: return "this is not a request of HTTP";
  }
}

}  // namespace

Result<std::unique_ptr<StatsServer>> StatsServer::create(const StatsServerOptions& options, HttpHandler& handler) {
  std::unique_ptr<StatsServer> server(new StatsServer(options, handler));
  auto bell = os::Doorbell::create();
  if (!bell) return tl::unexpected(bell.error());
  server->bell_ = std::move(*bell);
  auto listener = os::UnixListener::open(options.path);
  if (!listener) return tl::unexpected(listener.error());
  server->listener_ = std::move(*listener);
  auto* const self = server.get();
  auto thread = os::Thread::start("vmm-stats", [self] { self->run(); });
  if (!thread) return tl::unexpected(thread.error());
  server->thread_ = std::move(*thread);
  return server;
}

StatsServer::~StatsServer() {
  stop();
  finish();
}

void StatsServer::stop() noexcept {
  stop_.store(true, std::memory_order_release);
  if (bell_.fd() >= 0) bell_.ring();
  thread_.join();
  listener_.close();
  base::MutexLock lock(mutex_);
  no_more_ = true;
  jobs_.clear();
  changed_.notify_all();
}

void StatsServer::finish() noexcept { long_thread_.join(); }

void StatsServer::run() noexcept {
  while (!stop_.load(std::memory_order_acquire)) {
    try {
      if (look()) continue;
    } catch (const std::bad_alloc&) {
      // Below: who is served gives place.
    }
    // No memory, or none in the kernel: a client goes, and this thread does not turn in circles.
    if (!make_place()) accept_again_ = now() + kAcceptAgain;
    base::MutexLock lock(mutex_);
    changed_.wait_for(mutex_, kNextTry);
  }
  for (auto& client : clients_) drop(*client);
  clients_.clear();
}

// Waits for something, and serves it. False: the kernel could not wait.
bool StatsServer::look() {
  const auto before = now();
  std::vector<os::SocketWait> waits(clients_.size() + 2);
  waits[0] = {bell_.fd(), true, false};
  // A full house makes place by itself; only without descriptors is nobody let in.
  waits[1] = {before >= accept_again_ ? listener_.fd() : -1, true, false};
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    const auto& c = *clients_[i];
    waits[i + 2] = {c.fd.get(), c.state == State::reading && !c.ended && !c.held_back, c.state == State::sending};
  }
  if (os::wait_for_sockets(waits, patience(before)) != 0) return false;
  if (waits[0].readable) bell_.clear();
  const auto at = now();
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    auto& client = *clients_[i];
    if (!client.fd.valid()) continue;  // it had to make place
    bool stays = false;
    try {
      stays = serve(client, waits[i + 2], at);
    } catch (const std::bad_alloc&) {
      // What it asked for does not fit into memory.
    }
    if (!stays) drop(client);
  }
  take_done(at);
  std::erase_if(clients_, [](const auto& client) { return !client->fd.valid(); });
  crowded_ = std::any_of(clients_.begin(), clients_.end(), [](const auto& client) { return client->held_back; });
  if (waits[1].readable) accept_clients(at);
  return true;
}

void StatsServer::accept_clients(base::Nanos at) {
  for (std::size_t i = 0; i < options_.most_clients; ++i) {
    clients_.reserve(clients_.size() + 1);
    auto client = std::make_unique<Client>();
    auto accepted = listener_.accept();
    if (accepted.error != 0 && !make_place()) accept_again_ = at + kAcceptAgain;
    if (!accepted.fd.valid()) return;
    if (clients_.size() >= options_.most_clients && !make_place()) continue;  // all of them wait for verbs
    client->fd = std::move(accepted.fd);
    client->id = next_id_++;
    client->since = at;
    clients_.push_back(std::move(client));
    // Where it is crowded it is served before another takes its place.
    if (clients_.size() >= options_.most_clients) return;
  }
}

// The client goes that has made no progress for longest, but for those whose verb is under way. That one is held back
// is not its fault: it goes where there are no others. False: there is none.
bool StatsServer::make_place() {
  auto oldest = clients_.end();
  const auto before = [](const Client& a, const Client& b) {
    return a.held_back != b.held_back ? b.held_back : a.since < b.since;
  };
  for (auto c = clients_.begin(); c != clients_.end(); ++c)
    if ((*c)->state != State::waiting && (oldest == clients_.end() || before(**c, **oldest))) oldest = c;
  if (oldest == clients_.end()) return false;
  drop(**oldest);
  clients_.erase(oldest);
  return true;
}

bool StatsServer::has_room() const noexcept { return unread_ < kMostUnread; }

bool StatsServer::has_step(const Client& client) const noexcept {
  return client.more || (client.held_back && has_room());
}

bool StatsServer::serve(Client& client, const os::SocketWait& wait, base::Nanos at) {
  if (client.state == State::waiting) return !wait.broken;
  if (client.state == State::sending) {
    if (wait.writable && !send(client, at)) return false;
    if (wait.broken && !wait.writable) return false;
  } else if (has_step(client)) {
    if (!step(client, at)) return false;
  } else if (client.held_back) {
    if (wait.broken) return false;
  } else if (wait.readable) {
    if (!receive(client, at)) return false;
  } else if (wait.broken) {
    return false;
  }
  return at < deadline(client);
}

bool StatsServer::receive(Client& client, base::Nanos at) {
  std::array<char, 4096> bytes;
  const auto got = os::receive_some(client.fd.get(), bytes);
  if (got < 0) return got == -EAGAIN || got == -EINTR;
  client.ended = got == 0;
  if (client.input.empty()) client.since = at;
  client.input.append(bytes.data(), static_cast<std::size_t>(got));
  return step(client, at);
}

// Answers one request, if it has come; the next one is looked at after the other clients.
bool StatsServer::step(Client& client, base::Nanos at) {
  client.more = false;
  auto parsed = parse_http(client.input);
  client.held_back = (parsed.request || parsed.error != 0) && !has_room();
  if (client.held_back) return true;
  client.input.erase(0, parsed.taken);
  if (parsed.error != 0) {
    client.keep = client.head_only = false;
    reply(client, refusal(parsed.error, text_of(parsed.error)), at);
  } else if (parsed.request) {
    client.keep = parsed.request->keep_alive;
    client.head_only = parsed.request->method == "HEAD";
    if (client.head_only) parsed.request->method = "GET";
    if (!handler_.takes_long(*parsed.request)) {
      reply(client, handler_.answer(*parsed.request), at);
    } else if (begin_long(client, std::move(*parsed.request))) {
      client.state = State::waiting;
      return true;
    } else {
      reply(client, refusal(503, "no thread can be had for this"), at);
    }
  } else {
    // More is to come; or it has ended in the middle of a request, or after the last one.
    return !client.ended && client.input.size() <= kMostInput;
  }
  return send(client, at);
}

void StatsServer::reply(Client& client, HttpReply reply, base::Nanos at) {
  client.head = http_head(reply, client.keep);
  client.body = client.head_only ? std::string() : std::move(reply.body);
  unread_ += client.body.size();
  client.sent = 0;
  client.since = client.made = at;
  client.state = State::sending;
}

bool StatsServer::send(Client& client, base::Nanos at) {
  while (client.sent < client.head.size() + client.body.size()) {
    const auto before_body = client.head.size();
    const auto rest = client.sent < before_body ? std::string_view(client.head).substr(client.sent)
                                                : std::string_view(client.body).substr(client.sent - before_body);
    const auto sent = os::send_some(client.fd.get(), rest);
    if (sent == -EINTR) continue;
    if (sent == -EAGAIN) return true;
    if (sent <= 0) return false;
    client.sent += static_cast<std::size_t>(sent);
    client.since = at;
  }
  if (!client.keep) return false;
  forget_answer(client);
  client.state = State::reading;
  client.more = client.ended || !client.input.empty();
  return true;
}

void StatsServer::forget_answer(Client& client) noexcept {
  unread_ -= client.body.size();
  // Assigned to, they would keep their memory.
  std::string().swap(client.head);
  std::string().swap(client.body);
}

bool StatsServer::begin_long(Client& client, HttpRequest request) {
  if (!long_thread_.joinable()) {
    auto thread = os::Thread::start("vmm-control", [this] { run_long(); });
    if (!thread) return false;
    long_thread_ = std::move(*thread);
  }
  base::MutexLock lock(mutex_);
  jobs_.push_back({client.id, std::move(request), refusal(503, "there is no memory for this")});
  changed_.notify_all();
  return true;
}

void StatsServer::run_long() noexcept {
  for (;;) {
    std::list<Job> job;
    {
      base::MutexLock lock(mutex_);
      while (jobs_.empty() && !no_more_) changed_.wait(mutex_);
      if (no_more_) return;
      job.splice(job.end(), jobs_, jobs_.begin());
    }
    try {
      job.front().reply = handler_.answer(job.front().request);
    } catch (const std::bad_alloc&) {
      // So says the reply that it was made with.
    }
    {
      base::MutexLock lock(mutex_);
      if (no_more_) return;
      done_.splice(done_.end(), job);
    }
    bell_.ring();
  }
}

void StatsServer::take_done(base::Nanos at) {
  std::list<Job> done;
  {
    base::MutexLock lock(mutex_);
    done.swap(done_);
  }
  for (auto& job : done)
    for (auto& client : clients_) {
      if (client->id != job.client || !client->fd.valid() || client->state != State::waiting) continue;
      bool stays = false;
      try {
        reply(*client, std::move(job.reply), at);
        stays = send(*client, at);
      } catch (const std::bad_alloc&) {
        // It sees the end of the connection.
      }
      if (!stays) drop(*client);
    }
}

// Whoever has the connection sees its end. A verb of it that has not begun does not begin.
void StatsServer::drop(Client& client) noexcept {
  if (!client.fd.valid()) return;
  if (client.state == State::waiting) {
    base::MutexLock lock(mutex_);
    std::erase_if(jobs_, [&](const Job& job) { return job.client == client.id; });
  }
  forget_answer(client);
  os::shut_down_socket(client.fd.get());
  client.fd.reset();
}

base::Nanos StatsServer::deadline(const Client& client) const noexcept {
  if (client.state == State::waiting) return base::Nanos::max();
  if (client.state == State::sending) {
    const auto without_progress = client.since + options_.send_time;
    if (!crowded_ || has_room()) return without_progress;
    return std::min(without_progress,
                    client.made + options_.crowd_time * static_cast<base::Nanos::rep>(1 + client.sent / kMiB));
  }
  if (client.held_back) return client.since + options_.send_time;
  return client.since + (client.input.empty() ? options_.idle_time : options_.request_time);
}

// Milliseconds until some deadline; -1: there is none.
int StatsServer::patience(base::Nanos at) const noexcept {
  auto first = at < accept_again_ ? accept_again_ : base::Nanos::max();
  for (const auto& client : clients_) first = std::min(first, has_step(*client) ? at : deadline(*client));
  if (first == base::Nanos::max()) return -1;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(first - at).count();
  return static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(ms, 0, 600'000));
}

}  // namespace vmm::host
