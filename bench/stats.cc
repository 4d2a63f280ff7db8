// What statistics cost: to the caller of Host::stats(), beside the kernel's own sum, and to the thread that exports
// them.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "comparisons.h"
#include "support/hosts.h"
#include "support/measure.h"
#include "support/processors.h"

namespace vmm::bench {
namespace {

constexpr int kGuests = 100;
constexpr std::uint64_t kGuestBytes = 4 * MiB;

// A host of guests that have all been touched, some of which are in swap files, each with a thread attached.
class Crowd {
 public:
  explicit Crowd(const Settings& settings) : socket_(settings.directory + "/bench-stats.vmm") {
    HostOptions options;
    options.memory = 1 * GiB;
    options.swap_directory = settings.directory;
    options.management = Management::at_creation;
    options.stats_socket = socket_;
    host_ = make_host(options);
    for (int i = 0; i < kGuests; ++i) {
      GuestOptions o;
      o.name =
          "tenant-of-the-benchmark-" + std::to_string(i);  // longer than std::string holds without memory of its own
      o.memory = kGuestBytes;
      o.large_pages = false;
      guests_.push_back(value_of(host_.create_guest(o)));
      touch_all(guests_.back().memory());
      value_of(guests_.back().reclaim(kGuestBytes / 2));
      touch_all(guests_.back().memory());
    }
    for (auto& guest : guests_)
      threads_.emplace_back([this, &guest] {
        const auto seat = guest.attach_current_thread(Attach::measure_only);
        ++attached_;
        stop_.wait(false);
      });
    while (attached_ < kGuests) std::this_thread::yield();
  }
  ~Crowd() {
    stop_ = true;
    stop_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  Host& host() { return host_; }
  // Seconds for all pages of some guests to be touched anew, while `other` runs, until its flag is set.
  template <class Other>
  double seconds_of_faults_beside(Other other) {
    const std::span some(guests_.data(), 20);
    for (auto& guest : some) discard_all(guest);
    std::atomic<bool> over{false}, begun{false};
    std::thread thread([&] {
      begun = true;
      begun.notify_all();
      other(over);
    });
    begun.wait(false);
    const auto taken = seconds([&] {
      for (auto& guest : some) touch_all(guest.memory());
    });
    over = true;
    thread.join();
    return taken;
  }
  const std::string& socket() const { return socket_; }
  // Each guest takes a fault.
  void fault() {
    for (auto& guest : guests_) {
      value_of(guest.discard(0, kPageSize));
      guest.memory()[0] = std::byte{1};
    }
  }

 private:
  const std::string socket_;
  Host host_;
  std::vector<Guest> guests_;
  std::atomic<bool> stop_{false};
  std::atomic<int> attached_{0};
  std::vector<std::thread> threads_;
};

double microseconds_of_stats(Host& host) {
  return 1e6 * seconds([&] {
           if (value_of(host.stats()).guests.size() != kGuests) throw std::runtime_error("guests are missing");
         });
}

// Processor time of the thread of that name, in nanoseconds.
double thread_ns(const std::string& name) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string comm;
    std::ifstream(task.path() / "comm") >> comm;
    double ns = 0;
    if (comm == name && std::ifstream(task.path() / "schedstat") >> ns) return ns;
  }
  throw std::runtime_error("no thread " + name);
}

// Bytes of the answer.
std::size_t read_all(const std::string& path, const std::string& target) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const auto request = "GET " + target + " HTTP/1.0\r\n\r\n";
  std::size_t bytes = 0;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
    std::vector<char> buffer(1U << 16U);
    for (ssize_t got; (got = ::read(fd, buffer.data(), buffer.size())) > 0;) bytes += static_cast<std::size_t>(got);
  }
  ::close(fd);
  return bytes;
}

}  // namespace

void measure_stats(const Settings& settings, Report& report) {
  Crowd crowd(settings);
  auto& host = crowd.host();
  const auto rollup = [] {
    return 1e6 * seconds([] {
             std::ifstream file("/proc/self/smaps_rollup");
             std::string line;
             while (std::getline(file, line)) continue;
           });
  };
  Samples in_a_row;
  {
    // What it reads is in that one's caches.
    const BoundThreads bound(BoundThreads::Where::same_processor);
    for (int i = 0; i < 2000; ++i) in_a_row.add(microseconds_of_stats(host));
  }
  const auto pair = take_turns(
      100, [&] { return microseconds_of_stats(host); }, rollup);
  report.at_most("stats, 100 guests, us", in_a_row.median(), 10,
                 text("/proc/self/smaps_rollup, one sum of the process, %.0f us", pair.peer.median()));
  report.note("stats, nothing of them in the processor's caches, us", pair.ours.median(),
              "after the kernel has walked all of the process");
  Samples all_faulted;
  for (int i = 0; i < 100; ++i) {
    crowd.fault();
    all_faulted.add(microseconds_of_stats(host));
  }
  report.note("stats, all guests have faulted since, us", all_faulted.median(), "their latencies are summed up anew");
  const auto new_events = "/events.json?since=" + std::to_string(value_of(host.events(0)).next);
  const struct {
    const char* name;
    std::vector<std::string> targets;
  } readers[] = {{"export of /metrics", {"/metrics"}},
                 {"export of /stats.json", {"/stats.json"}},
                 {"export to vmmctl top", {"/", "/stats.json", new_events}}};
  for (const auto& reader : readers) {
    constexpr int kReads = 40;
    std::size_t bytes = 0;
    Samples ns;
    for (int i = 0; i < kReads; ++i) {
      // Apart, so that caches are as cold as they are for who asks now and then.
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      crowd.fault();
      const auto before = thread_ns("vmm-stats");
      bytes = 0;
      for (const auto& target : reader.targets) bytes += read_all(crowd.socket(), target);
      settle();  // it sees the end of the connection
      ns.add(thread_ns("vmm-stats") - before);
    }
    report.at_most(text("%s, 100 guests, %% of a processor", reader.name), ns.median() / 1e9 * 100, 0.1,
                   text("at one read a second: %.0f us for %zu KiB", ns.median() / 1e3, bytes / 1024));
  }
  std::atomic<int> answers{0};
  const auto asks = [&](const std::atomic<bool>& over) {
    while (!over) answers += read_all(crowd.socket(), "/metrics") > 0 ? 1 : 0;
  };
  const auto computes = [](const std::atomic<bool>& over) {
    while (!over) continue;
  };
  const auto beside = take_turns(
      20, [&] { return crowd.seconds_of_faults_beside(asks); },
      [&] { return crowd.seconds_of_faults_beside(computes); });
  report.at_most("faults beside a client that asks without end / beside a program that computes", beside.ratio(), 1.25,
                 text("%.0f and %.0f ms, %d answers", 1e3 * beside.ours.median(), 1e3 * beside.peer.median(),
                      answers.load()));
}

}  // namespace vmm::bench
