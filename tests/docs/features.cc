// features <feature>: uses one feature of the library, for check_syscalls.py, which watches the system calls that this
// makes. The thread that uses the library is named "caller"; what is none of its business is done by "other".
// Exit status 77, and the reason, where the feature is not to be had.

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "vmm/heap.h"
#include "vmm/vmm.h"

namespace {

using vmm::MiB;

template <class T>
T need(vmm::Result<T> result) {
  if (result) {
    if constexpr (std::is_void_v<T>)
      return;
    else
      return std::move(*result);
  }
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  const auto code = result.error().code;
  std::exit(code == vmm::Errc::not_supported || code == std::errc::operation_not_permitted ? 77 : 1);
}

void need(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::exit(1);
}

// Something that the library does by itself, soon. Waits without a system call that the table would have to name.
template <class F>
void until(F&& holds, const char* what) {
  std::atomic<bool> done{false};
  std::thread([&] {
    ::prctl(PR_SET_NAME, "other");
    for (int i = 0; i < 6000 && !holds(); ++i) ::poll(nullptr, 0, 10);
    done = true;
    done.notify_one();
  }).join();
  need(holds(), what);
}

vmm::HostOptions small() {
  vmm::HostOptions options;
  options.memory = 48 * MiB;
  options.management = vmm::Management::at_creation;
  return options;
}

vmm::Guest guest_of(vmm::Host& host, const char* name, std::uint64_t memory = 16 * MiB) {
  vmm::GuestOptions options;
  options.name = name;
  options.memory = memory;
  options.share_salt = "one";
  return need(host.create_guest(options));
}

// Each page different from all others, of all guests.
void fill(vmm::Guest& guest, std::uint64_t salt = 1) {
  const auto memory = guest.memory();
  for (std::uint64_t at = 0; at < memory.size(); at += sizeof at) {
    const std::uint64_t word = (at + salt) * 0x9e3779b97f4a7c15;
    std::memcpy(&memory[at], &word, sizeof word);
  }
}

void check(const vmm::Guest& guest, std::uint64_t salt = 1) {
  const auto memory = guest.memory();
  for (std::uint64_t at = 0; at < memory.size(); at += sizeof at) {
    const std::uint64_t word = (at + salt) * 0x9e3779b97f4a7c15;
    need(std::memcmp(&memory[at], &word, sizeof word) == 0, "a word is as it was written");
  }
}

// A guest larger than the host, written, read, taken and brought back.
void swap_with(vmm::HostOptions options) {
  auto host = need(vmm::Host::create(options));
  {
    auto guest = guest_of(host, "large", 96 * MiB);
    fill(guest);
    check(guest);
    need(guest.reclaim(8 * MiB));
    need(guest.restore());
    need(guest.prefetch(0, MiB));
    check(guest);
    need(guest.discard(0, MiB));
    need(guest.stats()->swapped_out > 0, "pages went to the swap file");
  }
  need(host.stats()->guests.empty(), "the guest has ended");
}

void native() {
  vmm::HostOptions options;
  options.memory = 512 * MiB;
  options.management = vmm::Management::on_demand;
  auto host = need(vmm::Host::create(options));
  auto guest = guest_of(host, "native");
  fill(guest);
  check(guest);
  until([&] { return host.stats()->time_ns > 0; }, "time goes by");
}

void becomes_managed() {
  vmm::HostOptions options;
  options.memory = 48 * MiB;
  options.management = vmm::Management::on_demand;
  auto host = need(vmm::Host::create(options));
  auto guest = guest_of(host, "grows", 40 * MiB);
  fill(guest);
  until([&] { return guest.stats()->managed; }, "the guest is managed");
  check(guest);
}

void swap_uring() {
  auto options = small();
  options.swap_io = vmm::SwapIo::io_uring;
  swap_with(options);
}

void swap_threads() {
  auto options = small();
  options.swap_io = vmm::SwapIo::threads;
  swap_with(options);
}

void write_protect() {
  auto options = small();
  options.isolation = vmm::Isolation::write_protect;
  swap_with(options);
}

void swap_persist() {
  auto options = small();
  options.swap_persist = true;
  options.swap_directory = "/tmp";
  swap_with(options);
  std::thread([] {
    ::prctl(PR_SET_NAME, "other");
    const auto file = "/tmp/large." + std::to_string(::getpid()) + ".vswp";
    need(::unlink(file.c_str()) == 0, "the swap file is there");
  }).join();
}

void sampling() {
  auto options = small();
  options.sample_period = std::chrono::milliseconds(20);
  auto host = need(vmm::Host::create(options));
  auto guest = guest_of(host, "sampled", 36 * MiB);
  fill(guest);
  until([&] { return guest.stats()->samples > 1; }, "it is sampled");
  check(guest);
}

void configure() {
  auto host = need(vmm::Host::create(small()));
  need(host.create_pool("/web", {}));
  auto guest = guest_of(host, "changes");
  fill(guest);
  vmm::GuestChange change;
  change.reservation = 4 * MiB;
  change.pool = "/web";
  change.limit = 8 * MiB;
  need(guest.configure(change));
  change = {};
  change.reservation = 0;
  need(guest.configure(change));
  check(guest);
  vmm::HostChange of_host;
  of_host.memory = 40 * MiB;
  need(host.configure(of_host));
}

void pin() {
  auto host = need(vmm::Host::create(small()));
  auto guest = guest_of(host, "pinned");
  fill(guest);
  need(guest.reclaim(8 * MiB));
  auto pin = need(guest.pin(0, MiB));
  check(guest);
}

void share() {
  auto options = small();
  options.share_scan_ghz = 1000;
  options.share_scan_time = std::chrono::seconds(1);
  options.share_rate_max = 1'000'000;
  options.alloc_guest_large_page = false;
  auto host = need(vmm::Host::create(options));
  auto a = guest_of(host, "a"), b = guest_of(host, "b");
  fill(a);
  fill(b);
  need(need(host.estimate_sharing()).saved > 0, "something could be saved");
  need(need(host.share_now()).saved > 0, "pages are shared");
  // Written by one and no longer alike; then taken by the host itself.
  const auto memory = b.memory();
  for (std::uint64_t at = 0; at < memory.size() / 4; at += vmm::kPageSize) memory[at] ^= std::byte{1};
  need(host.share_now());
  need(a.pin(0, 4 * MiB));
  check(a);
  until([&] { return host.stats()->share_cpu_ns > 0; }, "it is looked at");
}

void balloon() {
  auto options = small();
  auto host = need(vmm::Host::create(options));
  auto guest = guest_of(host, "balloon", 32 * MiB);
  fill(guest);
  auto driver = std::make_shared<vmm::PageListDriver>();
  need(driver->add_free(0, 24 * MiB));
  need(guest.set_balloon(driver));
  auto other = guest_of(host, "other", 32 * MiB);
  fill(other);
  until([&] { return guest.stats()->ballooned_out > 0; }, "the balloon gives pages");
  need(guest.set_balloon(nullptr));
}

void heap() {
  auto host = need(vmm::Host::create(small()));
  auto guest = guest_of(host, "heap", 64 * MiB);
  auto heap = need(vmm::Heap::create(guest));
  need(guest.set_balloon(heap.balloon_driver()));
  std::vector<void*> blocks;
  for (int i = 0; i < 2000; ++i) {
    blocks.push_back(heap.allocate(16384));
    need(blocks.back() != nullptr, "the heap has room");
    std::memset(blocks.back(), i, 16384);
  }
  for (void* block : blocks) heap.free(block);
  need(heap.stats().memory > 0, "the heap tells what it has");
}

void seats() {
  auto host = need(vmm::Host::create(small()));
  auto guest = guest_of(host, "seats");
  auto seat = need(guest.attach_current_thread());
  fill(guest);
  need(guest.stats()->attached_threads == 1, "the thread is attached");
  until([&] { return host.stats()->guests.front().attached_cpu_ns > 0; }, "the scheduler looks at threads");
  seat.release();
}

void weights() {
  auto options = small();
  options.cpu_weights = true;
  options.rebalance_period = std::chrono::milliseconds(50);
  auto host = need(vmm::Host::create(options));
  auto guest = guest_of(host, "weighed");
  auto seat = need(guest.attach_current_thread());
  fill(guest);
  until([&] { return host.stats()->guests.front().attached_cpu_ns > 0; }, "the scheduler looks at threads");
}

sockaddr_un address_of(const std::string& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket.c_str(), sizeof address.sun_path - 1);
  return address;
}

// As a process leaves it that was killed.
void leave_socket(const std::string& socket) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto address = address_of(socket);
  need(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "a socket can be made");
  ::close(fd);
}

// Sends the request and returns the answer.
std::string ask(const std::string& socket, const std::string& request) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto address = address_of(socket);
  need(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "the socket can be used");
  need(::write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size()), "a request is sent");
  std::string answer;
  char part[4096];
  for (ssize_t got; (got = ::read(fd, part, sizeof part)) > 0;) answer.append(part, static_cast<std::size_t>(got));
  ::close(fd);
  return answer;
}

void stats_socket() {
  auto options = small();
  options.stats_socket = "/tmp/libvmm-features." + std::to_string(::getpid()) + ".vmm";
  options.stats_control = true;
  std::thread([&] {
    ::prctl(PR_SET_NAME, "other");
    leave_socket(options.stats_socket);
  }).join();
  auto host = need(vmm::Host::create(options));
  auto guest = guest_of(host, "served");
  fill(guest);
  std::thread([&] {
    ::prctl(PR_SET_NAME, "other");
    const std::string end = " HTTP/1.0\r\n\r\n";
    for (const char* path : {"/metrics", "/stats.json", "/stats.csv", "/events.json"})
      need(ask(options.stats_socket, std::string("GET ") + path + end).find(" 200 ") != std::string::npos, path);
    const auto answer = ask(options.stats_socket, "POST /control/reclaim?guest=served&bytes=1048576" + end);
    need(answer.find(" 200 ") != std::string::npos, answer.c_str());
  }).join();
}

void events() {
  auto host = need(vmm::Host::create(small()));
  std::atomic<int> seen{0};
  need(host.on_event([&](const vmm::Event&) { ++seen; }));
  auto guest = guest_of(host, "told");
  until([&] { return seen > 0; }, "an event is told");
  need(host.on_event({}));
}

void probe() { need(!vmm::probe().items.empty(), "something is found"); }

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, std::function<void()>> features = {{"native", native},
                                                                 {"managed", becomes_managed},
                                                                 {"swap", swap_uring},
                                                                 {"threads", swap_threads},
                                                                 {"write_protect", write_protect},
                                                                 {"swap_persist", swap_persist},
                                                                 {"sampling", sampling},
                                                                 {"configure", configure},
                                                                 {"pin", pin},
                                                                 {"share", share},
                                                                 {"balloon", balloon},
                                                                 {"heap", heap},
                                                                 {"seats", seats},
                                                                 {"weights", weights},
                                                                 {"stats_socket", stats_socket},
                                                                 {"events", events},
                                                                 {"probe", probe}};
  if (argc != 2 || features.find(argv[1]) == features.end()) {
    for (const auto& [name, feature] : features) std::printf("%s\n", name.c_str());
    return argc == 1 ? 0 : 2;
  }
  if (!vmm::probe().has("userfaultfd")) {
    std::fprintf(stderr, "userfaultfd is not available: see vmmctl doctor\n");
    return 77;
  }
  ::prctl(PR_SET_NAME, "caller");
  features.at(argv[1])();
  std::printf("used %s\n", argv[1]);
  return 0;
}
