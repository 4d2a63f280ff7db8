// Hazard 41: manners inside someone's process.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "support/child.h"
#include "support/page_oracle.h"
#include "support/process_state.h"
#include "support/sanitizer.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

class Hazard41_Manners : public EachWay {
 protected:
  // A host and a guest in every state of pages, with all verbs used and some misused.
  void live(Findings& findings, const std::string& name = "g") {
    auto host = Host::create(host_options(directory_.path(), 32 * MiB));
    if (!findings.check(host, "Host::create")) return;
    host->on_event([](const Event&) {});
    auto guest = host->create_guest(guest_options(name, 4 * MiB));
    if (!findings.check(guest, "create_guest")) return;
    PageOracle oracle(guest->memory(), 1);
    oracle.write(0, oracle.pages());
    findings.check(guest->reclaim(4 * MiB), "reclaim");
    findings.check(guest->prefetch(0, 1 * MiB), "prefetch");
    findings.check(guest->restore(), "restore");
    findings.check_equal(oracle.check().wrong, 0U, "wrong pages");
    findings.check(guest->discard(0, 1 * MiB), "discard");
    findings.check(!guest->pin(1, 2), "a bad pin was accepted");
    findings.check(!host->create_guest(guest_options("", 1)), "a bad guest was accepted");
    findings.check(guest->attach_current_thread(), "attach_current_thread");
    if (during_) during_(findings);
  }
  const TempDirectory directory_;
  std::function<void(Findings&)> during_;
};

TEST_P(Hazard41_Manners, WritesNothing) {
  const auto output = directory_.file("output");
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    const int file = ::open(output.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ::dup2(file, STDOUT_FILENO);
    ::dup2(file, STDERR_FILENO);
    live(findings);
    std::fflush(nullptr);
  }));
  std::ifstream in(output);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(text, "");
}

std::array<struct sigaction, 65> handlers() {
  std::array<struct sigaction, 65> all{};
  for (int number = 1; number < 65; ++number) ::sigaction(number, nullptr, &all[static_cast<std::size_t>(number)]);
  return all;
}

TEST_P(Hazard41_Manners, ChangesNoSignalHandlerAndNoMask) {
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    sigset_t mask_before, mask_after;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_before);
    const auto before = handlers();
    const auto compare = [&](Findings& f) {
      const auto now = handlers();
      for (std::size_t number = 1; number < 65; ++number)
        f.check(now[number].sa_handler == before[number].sa_handler && now[number].sa_flags == before[number].sa_flags,
                "the handler of signal " + std::to_string(number) + " was changed");
    };
    during_ = compare;
    live(findings);
    compare(findings);
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_after);
    for (int number = 1; number < 65; ++number)
      findings.check(::sigismember(&mask_before, number) == ::sigismember(&mask_after, number),
                     "the mask of the calling thread was changed");
  }));
}

TEST_P(Hazard41_Manners, ThreadsAreNamedAndBlockEverySignal) {
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    during_ = [&](Findings& f) {
      unsigned library_threads = 0;
      for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        if (task.path().filename() == std::to_string(::getpid())) continue;
        std::ifstream status(task.path() / "status");
        std::string name, blocked, line;
        while (std::getline(status, line)) {
          if (line.rfind("Name:\t", 0) == 0) name = line.substr(6);
          if (line.rfind("SigBlk:\t", 0) == 0) blocked = line.substr(8);
        }
        if (name.rfind("iou-", 0) == 0) continue;  // the kernel's own
        if (kThreadSanitizer && name == "kernel_tests") continue;
        f.check(name.rfind("vmm-", 0) == 0, "a thread is called " + name);
        ++library_threads;
        const auto mask = std::stoull(blocked, nullptr, 16);
        for (int number = 1; number < 65; ++number) {
          // Not to be blocked: by the kernel's rule, and those that glibc keeps for itself.
          if (number == SIGKILL || number == SIGSTOP || number == 32 || number == 33) continue;
          f.check((mask >> (number - 1) & 1) != 0, name + " does not block signal " + std::to_string(number));
        }
      }
      f.check(library_threads >= 3, "scheduler, fault thread and worker were expected");
    };
    live(findings);
    findings.check(library_threads_gone(), "threads are left");
  }));
}

TEST_P(Hazard41_Manners, EveryDescriptorIsCloseOnExec) {
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    std::set<std::string> before;
    for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) before.insert(fd.path().filename());
    during_ = [&](Findings& f) {
      for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        const std::string fd = entry.path().filename();
        const auto target = std::filesystem::read_symlink(entry.path(), gone).string();
        if (before.count(fd) != 0 || gone || target == "/proc/" + std::to_string(::getpid()) + "/fd") continue;
        f.check((::fcntl(std::stoi(fd), F_GETFD) & FD_CLOEXEC) != 0, "stays open over exec: " + target);
      }
    };
    live(findings);
  }));
}

TEST_P(Hazard41_Manners, TwoHostsAtOnce) {
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    Findings other;
    std::thread second([&] { Hazard41_Manners::live(other, "same name"); });
    live(findings, "same name");
    second.join();
    findings.check(other.text().empty(), other.text());
    // One within the life of the other, and the first may end first.
    auto outer = std::make_optional(Host::create(host_options(directory_.path(), 32 * MiB)));
    auto inner = Host::create(host_options(directory_.path(), 32 * MiB));
    if (!findings.check(*outer, "first host") || !findings.check(inner, "second host")) return;
    auto guest = inner->create_guest(guest_options("g", 2 * MiB));
    if (!findings.check(guest, "guest")) return;
    PageOracle oracle(guest->memory(), 3);
    oracle.write(0, oracle.pages());
    outer.reset();
    findings.check(guest->reclaim(2 * MiB), "reclaim");
    findings.check_equal(oracle.check().wrong, 0U, "wrong pages");
  }));
}

// Handles that nobody destroys: exit() neither hangs nor crashes.
TEST_P(Hazard41_Manners, ExitWithoutDestroy) {
  for (int i = 0; i < 10; ++i) {
    const auto options = host_options(directory_.path(), 32 * MiB);
    const auto end = in_child([&](Findings&) {
      static Result<Host>* host;  // where the leak checker finds it
      host = new Result<Host>(Host::create(options));
      auto* guest = new Result<Guest>((*host)->create_guest(guest_options("g", 2 * MiB)));
      auto* oracle = new PageOracle((*guest)->memory(), 1);
      oracle->write(0, oracle->pages());
      static_cast<void>((*guest)->reclaim(1 * MiB));
      // A thread that goes on touching while the process ends.
      std::thread([oracle] {
        for (;;) static_cast<void>(oracle->check());
      }).detach();
      std::exit(7);
    });
    ASSERT_TRUE(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 7) << end.describe();
    ASSERT_TRUE(directory_.entries().empty());
  }
}

// Statics: made in one order, destroyed in the other, the guest after its host.
TEST_P(Hazard41_Manners, StaticDestructionOrder) {
  for (const bool guest_first : {false, true}) {
    const auto options = host_options(directory_.path(), 32 * MiB);
    const auto end = in_child([&](Findings&) {
      const auto make = [&](Host& host, Guest& guest, Pin& pin, Seat& seat) {
        host = std::move(*Host::create(options));
        guest = std::move(*host.create_guest(guest_options("g", 2 * MiB)));
        guest.memory()[0] = std::byte{1};
        static_cast<void>(guest.reclaim(2 * MiB));
        pin = std::move(*guest.pin(0, kPageSize));
        seat = std::move(*guest.attach_current_thread());
      };
      if (guest_first) {
        static Seat seat;
        static Pin pin;
        static Guest guest;
        static Host host;
        make(host, guest, pin, seat);
        std::exit(8);
      }
      static Host host;
      static Guest guest;
      static Pin pin;
      static Seat seat;
      make(host, guest, pin, seat);
      std::exit(8);
    });
    ASSERT_TRUE(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 8) << end.describe();
  }
}

// libvmm.so inside a plug-in that is loaded, used and unloaded, three times.
TEST(Hazard41_Plugin, LoadedAndUnloaded) {
  const TempDirectory directory;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    for (int i = 0; i < 3; ++i) {
      const auto descriptors = open_descriptors();
      void* module = ::dlopen(VMM_LIVE_MODULE, RTLD_NOW | RTLD_LOCAL);
      if (!findings.check(module != nullptr, module == nullptr ? ::dlerror() : "")) return;
      using Live = int (*)(const char*, char*, std::size_t);
      const auto live = reinterpret_cast<Live>(::dlsym(module, "live_with_libvmm"));
      if (!findings.check(live != nullptr, "no live_with_libvmm in the plug-in")) return;
      char message[512] = "";
      // From a thread that ends after the plug-in is unloaded, too: its seat left something to destroy.
      const int step = live(directory.path().c_str(), message, sizeof message);
      findings.check_equal(step, 0, std::string("failed step: ") + message);
      std::thread([&] {
        char text[512] = "";
        findings.check_equal(live(directory.path().c_str(), text, sizeof text), 0, text);
        findings.check(library_threads_gone(), "threads are left");
        ::dlclose(module);
      }).join();
      findings.check_equal(open_descriptors(), descriptors, "descriptors");
    }
  }));
}

VMM_EACH_WAY(Hazard41_Manners);

}  // namespace
}  // namespace vmm::test
