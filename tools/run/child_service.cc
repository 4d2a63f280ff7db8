#include "child_service.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <new>
#include <utility>

#include "guest_inside.h"
#include "inside.h"
#include "messages.h"
#include "os/mapping.h"
#include "os/userfaultfd.h"
#include "own_descriptors.h"
#include "snapshot_pages.h"
#include "vmm/units.h"

namespace vmm::run {
namespace {

// Most children exec another program, or end, sooner: those read what they touch and no more.
constexpr int kShortLifeMs = 100;
// Brought between two looks whether somebody waits.
constexpr int kPagesAtOnce = 16;

std::atomic<int> running{0};  // of this process
std::atomic<bool> hurry{false};

class Service {
 public:
  Service(region::GuestMemory& guest, os::Userfaultfd uffd) : guest_(guest), pages_(guest), uffd_(std::move(uffd)) {}

  void run() noexcept {
    std::uint64_t ahead = 0;
    for (int patience = kShortLifeMs; ahead < guest_.pages();) {
      if (hurry.load(std::memory_order_relaxed)) patience = 0;
      pollfd waits{uffd_.fd(), POLLIN, 0};
      const int ready = ::poll(&waits, 1, patience);
      if (ready > 0) {
        serve();
        continue;
      }
      patience = 0;
      for (int i = 0; i < kPagesAtOnce && ahead < guest_.pages(); ++i) {
        ahead = pages_.next_missing(ahead);
        if (ahead < guest_.pages()) bring(ahead++);
      }
    }
    // All that could be had is there, or marked. What is left are pages of zeros, which the kernel brings itself.
    uffd_.unregister_range(guest_.base(), guest_.pages() * kPageSize);
  }

 private:
  void serve() noexcept {
    os::FaultEvent events[16];
    const int count = uffd_.read(events, 16);
    for (int i = 0; i < count; ++i)
      if (!events[i].other) bring(guest_.page_of(events[i].address));
  }

  void bring(std::uint64_t page) noexcept {
    auto* const place = guest_.at(page);
    if (page >= guest_.pages()) return;
    switch (pages_.fetch(page, buffer_)) {
      case SnapshotPages::Found::zeros: (void)uffd_.zero(place, kPageSize); break;
      case SnapshotPages::Found::bytes: (void)uffd_.copy(place, buffer_, kPageSize, false); break;
      case SnapshotPages::Found::gone: lose(place); return;
    }
    // Also where the page was there already.
    (void)uffd_.wake(place, kPageSize);
  }

  void lose(std::byte* place) noexcept {
    if (is_present(place)) {
      (void)uffd_.wake(place, kPageSize);
      return;
    }
    say_once(
        Limit::child_page_gone,
        "a child of fork() lived on while its parent used up the swap file's slots: it has lost pages, and dies if "
        "it touches them (SIGBUS). --memory of the size of all that the program holds keeps children whole");
    // Before Linux 6.6: SIGSEGV.
    if (uffd_.poison(place, kPageSize) != 0) (void)os::make_inaccessible(place, kPageSize);
    (void)uffd_.wake(place, kPageSize);
  }

  region::GuestMemory& guest_;
  const SnapshotPages pages_;
  os::Userfaultfd uffd_;
  alignas(kPageSize) std::byte buffer_[kPageSize];
};

void* serve_child(void* argument) {
  auto* const service = static_cast<Service*>(argument);
  service->run();
  delete service;
  running.store(0, std::memory_order_release);
  running.notify_all();
  return nullptr;
}

bool begin_thread(Service* service) noexcept {
  // A stack of its own: one that the C library has kept of another thread comes with what that had in guest memory.
  constexpr std::size_t kStackBytes = 256 * KiB;
  void* const stack = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) return false;
  sigset_t all, before;
  ::sigfillset(&all);
  if (::pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstack(&attributes, stack, kStackBytes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread{};
  const int error = ::pthread_create(&thread, &attributes, serve_child, service);
  ::pthread_attr_destroy(&attributes);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error == 0;
}

// Without userfaultfd: all of them now, while nobody else is there who could see them come.
void bring_all(region::GuestMemory& guest) noexcept {
  const SnapshotPages pages(guest);
  alignas(kPageSize) static std::byte buffer[kPageSize];
  for (auto page = pages.next_missing(0); page < guest.pages(); page = pages.next_missing(page + 1)) {
    auto* const place = guest.at(page);
    if (is_present(place)) continue;
    if (pages.fetch(page, buffer) == SnapshotPages::Found::bytes) {
      std::memcpy(place, buffer, kPageSize);
      continue;
    }
    say_once(Limit::child_unserved, "a child of fork() has lost pages, and dies if it touches them (SIGSEGV)");
    (void)os::make_inaccessible(place, kPageSize);
  }
}

}  // namespace

void begin_child_service() noexcept {
  const Inside here;
  auto& guest = guest_inside();
  hurry.store(false, std::memory_order_relaxed);
  if (!SnapshotPages(guest).any_missing()) return;
  os::UffdFeatures wanted;
  wanted.poison = guest.options().features.poison;
  auto uffd = os::Userfaultfd::open(wanted);
  const auto bytes = guest.pages() * kPageSize;
  if (uffd && !uffd->features().user_mode_only && uffd->register_range(guest.base(), bytes, false) == 0) {
    auto* const service = new (std::nothrow) Service(guest, std::move(*uffd));
    running.store(1, std::memory_order_relaxed);
    if (service != nullptr && begin_thread(service)) return;
    running.store(0, std::memory_order_relaxed);
    // The descriptor's end unregisters the range.
    delete service;
  }
  bring_all(guest);
}

bool child_service_runs() noexcept { return running.load(std::memory_order_acquire) != 0; }

void end_child_service() noexcept {
  hurry.store(true, std::memory_order_relaxed);
  running.wait(1, std::memory_order_acquire);
}

}  // namespace vmm::run
