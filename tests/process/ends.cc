// ends: makes hosts and guests and ends the process without destroying them, in the way its first argument names.
//   ends <way> <swap directory>
// Guests in static storage say as they end whether their host is still there. tests/process/ends_test.sh runs every
// way.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "process/ends.h"
#include "vmm/c.h"

namespace vmm::test {
namespace {

constexpr std::uint64_t kMemory = 4 * MiB;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::_Exit(2);
}

template <class T>
T or_give_up(Result<T> result) {
  if (!result) give_up(result.error().message());
  return *std::move(result);
}

Host make_host(const char* directory) {
  HostOptions options;
  options.memory = 32 * MiB;
  options.swap_directory = directory;
  options.management = Management::at_creation;
  return or_give_up(Host::create(options));
}

// Half in the swap file, half in memory.
Guest make_guest(Host& host, const char* name) {
  GuestOptions options;
  options.name = name;
  options.memory = kMemory;
  Guest guest = or_give_up(host.create_guest(options));
  for (std::uint64_t at = 0; at < kMemory; at += kPageSize) guest.memory()[at] = std::byte{7};
  if (or_give_up(guest.reclaim(kMemory / 2)) == 0) give_up("nothing was reclaimed");
  return guest;
}

// A thread that goes on touching while the process ends. With them, handles that nobody keeps.
void leave_all_alive(const char* directory) {
  // Volatile: what nobody reads again would be kept nowhere, and the leak checker would not find it.
  static Host* volatile host = new Host(make_host(directory));
  static Guest* volatile guest = new Guest(make_guest(*host, "left"));
  static Seat* volatile seat = new Seat(or_give_up(guest->attach_current_thread()));
  static Pin* volatile pin = new Pin(or_give_up(guest->pin(0, kPageSize)));
  static_cast<void>(seat);
  static_cast<void>(pin);
  std::thread([] {
    for (std::uint64_t at = 0;; at = (at + kPageSize) % kMemory) {
      if (*const_cast<volatile std::byte*>(&guest->memory()[at]) != std::byte{7}) give_up("a page is wrong");
      if (at == 0) static_cast<void>(guest->reclaim(kMemory));
    }
  }).detach();
}

void leave_all_alive_c(const char* directory) {
  [[maybe_unused]] static vmm_host* volatile kept_host;
  [[maybe_unused]] static vmm_guest* volatile kept_guest;
  vmm_host* host = nullptr;
  vmm_guest* guest = nullptr;
  vmm_host_options host_options;
  vmm_host_options_init(&host_options, sizeof host_options);
  host_options.memory = 32 * MiB;
  host_options.swap_directory = directory;
  if (vmm_host_create(&host_options, &host) != 0) give_up(vmm_last_error());
  vmm_guest_options guest_options;
  vmm_guest_options_init(&guest_options, sizeof guest_options);
  guest_options.name = "left";
  guest_options.memory = kMemory;
  if (vmm_guest_create(host, &guest_options, &guest) != 0) give_up(vmm_last_error());
  std::memset(vmm_guest_memory(guest, nullptr), 7, kMemory);
  if (vmm_guest_reclaim(guest, kMemory / 2, nullptr) != 0) give_up(vmm_last_error());
  kept_host = host;
  kept_guest = guest;
}

// quick_exit() runs this; the host's threads work meanwhile, as ever.
void at_quick_exit() {
  std::puts("at_quick_exit");
  std::fflush(stdout);
}

int run(const std::string& way, const char* directory) {
  if (way == "host_in_first_guest_in_second") {
    host_in_first = make_host(directory);
    guest_in_second.guest = make_guest(host_in_first, "static");
    return 0;
  }
  if (way == "host_in_second_guest_in_first") {
    host_in_second = make_host(directory);
    guest_in_first.guest = make_guest(host_in_second, "static");
    return 0;
  }
  if (way == "two_hosts") {
    host_in_first = make_host(directory);
    host_in_second = make_host(directory);
    guest_in_first.guest = make_guest(host_in_second, "same name");
    guest_in_second.guest = make_guest(host_in_first, "same name");
    return 0;
  }
  if (way == "c_exit") {
    leave_all_alive_c(directory);
    std::exit(0);
  }
  leave_all_alive(directory);
  if (way == "return") return 0;
  if (way == "exit") std::exit(0);
  if (way == "exit_in_thread") std::thread([] { std::exit(0); }).join();
  if (way == "_exit") ::_exit(0);
  if (way == "quick_exit") {
    if (std::at_quick_exit(at_quick_exit) != 0) give_up("at_quick_exit");
    std::quick_exit(0);
  }
  give_up("unknown way " + way);
}

}  // namespace

void say_end(const char* which, Guest& guest) {
  const auto stats = guest.stats();
  if (stats) {
    const bool right = guest.memory().size() == kMemory && guest.memory()[0] == std::byte{7};
    std::printf("%s: its host is alive, its memory is %s\n", which, right ? "right" : "wrong");
  } else {
    // The text too: what it is made of is not to be destroyed before.
    std::printf("%s: inert: %s\n", which, stats.error().message().c_str());
    if (!guest.memory().empty() || guest.reclaim(kPageSize) || guest.pin(0, kPageSize)) std::puts("but it has memory");
    if (!Host().capabilities().items.empty()) std::puts("no host has capabilities");
  }
  std::fflush(stdout);
}

}  // namespace vmm::test

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: ends <way> <swap directory>\n");
    return 2;
  }
  return vmm::test::run(argv[1], argv[2]);
}
