// A child of fork(): every call says so, the guests' memory is not there, destructors do nothing, and the parent goes
// on unharmed. (Also hazard 1: no child ever reads a zero where its parent has data.)
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "support/child.h"
#include "support/deadline.h"
#include "support/page_oracle.h"
#include "support/sanitizer.h"
#include "support/temp_directory.h"
#include "support/way.h"

namespace vmm::test {
namespace {

class ForkedChild : public EachWay {};

template <class T>
void check_forked(Findings& findings, const char* what, const Result<T>& result) {
  if (!findings.check(!result, std::string(what) + " succeeded in the child")) return;
  findings.check(result.error().code == Errc::forked_child, std::string(what) + ": " + result.error().message());
  findings.check(!result.error().operation.empty() && !result.error().remedy.empty(),
                 std::string(what) + ": says nothing");
}

struct Parts {
  Result<Host> host;
  Result<Guest> guest;
  Result<Pin> pin;
  Result<Seat> seat;
};

TEST_P(ForkedChild, EveryCallSaysSoAndTheParentGoesOn) {
  const Deadline deadline(std::chrono::seconds(100), "calls in a fork's child");
  const TempDirectory directory;
  auto parts = std::make_unique<Parts>();
  parts->host = Host::create(host_options(directory.path()));
  ASSERT_TRUE(parts->host) << parts->host.error().message();
  parts->guest = parts->host->create_guest(guest_options("g", 4 * MiB));
  ASSERT_TRUE(parts->guest);
  auto& guest = *parts->guest;
  PageOracle oracle(guest.memory(), 1);
  oracle.write(0, oracle.pages());
  ASSERT_TRUE(guest.reclaim(2 * MiB));
  parts->pin = guest.pin(0, 16 * kPageSize);
  parts->seat = guest.attach_current_thread();
  ASSERT_TRUE(parts->pin && parts->seat);
  const auto before = *guest.stats();
  const auto* const memory = guest.memory().data();

  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    auto& host = *parts->host;
    check_forked(findings, "create_guest", host.create_guest(guest_options("x", 1 * MiB)));
    check_forked(findings, "tick", host.tick({}));
    check_forked(findings, "on_event", host.on_event([](const Event&) {}));
    check_forked(findings, "stats", host.stats());
    static_cast<void>(host.capabilities());
    check_forked(findings, "attach_current_thread", guest.attach_current_thread());
    check_forked(findings, "pin", guest.pin(0, kPageSize));
    check_forked(findings, "discard", guest.discard(0, kPageSize));
    check_forked(findings, "reclaim", guest.reclaim(kPageSize));
    check_forked(findings, "restore", guest.restore());
    check_forked(findings, "prefetch", guest.prefetch(0, kPageSize));
    check_forked(findings, "stats", guest.stats());
    findings.check(guest.memory().empty(), "the child sees the guest's memory");
    parts->pin->release();
    parts->seat->release();
    parts.reset();  // all destructors
  }));
  // The memory itself: SIGSEGV, whatever state a page is in.
  for (const std::uint64_t page : {std::uint64_t{0}, oracle.pages() / 2, oracle.pages() - 1}) {
    const auto end = in_child([&](Findings&) {
      ::signal(SIGSEGV, SIG_DFL);
      static_cast<void>(*const_cast<const volatile std::byte*>(memory + page * kPageSize));
    });
    EXPECT_TRUE(WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGSEGV) << end.describe();
  }
  const auto after = *guest.stats();
  EXPECT_EQ(after.pinned, before.pinned);
  EXPECT_EQ(after.attached_threads, 1U);
  EXPECT_EQ(oracle.check().wrong, 0U);
  EXPECT_TRUE(guest.discard(kPageSize * 32, kPageSize));
  EXPECT_TRUE(guest.restore());
  // A child may have a host of its own; the thread sanitizer knows no threads there.
  if (kThreadSanitizer) return;
  VMM_EXPECT_CHILD(in_child([&](Findings& findings) {
    auto own = Host::create(host_options(directory.path()));
    if (!findings.check(own, "Host::create in the child")) return;
    auto g = own->create_guest(guest_options("own", 1 * MiB));
    if (!findings.check(g, "create_guest in the child's own host")) return;
    PageOracle mine(g->memory(), 2);
    mine.write(0, mine.pages());
    findings.check(g->reclaim(1 * MiB), "reclaim in the child's own host");
    findings.check_equal(mine.check().wrong, 0U, "wrong pages in the child's own host");
  }));
}

// What the parent's threads were just working with is nobody's in the child: no leaks are looked for there.
bool in_child_of_fork = false;

// A child that ends by exit(), with its static destructors and the handles still alive.
TEST_P(ForkedChild, ExitsCleanly) {
  const TempDirectory directory;
  auto host = Host::create(host_options(directory.path()));
  ASSERT_TRUE(host);
  auto guest = host->create_guest(guest_options("g", 2 * MiB));
  ASSERT_TRUE(guest);
  PageOracle oracle(guest->memory(), 1);
  oracle.write(0, oracle.pages());
  ASSERT_TRUE(guest->reclaim(1 * MiB));
  for (int i = 0; i < 20; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      in_child_of_fork = true;
      ::alarm(20);
      {
        const Guest mine = std::move(*guest);
        const Host its = std::move(*host);
      }
      std::exit(0);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }
  EXPECT_EQ(oracle.check().wrong, 0U);
}

VMM_EACH_WAY(ForkedChild);

}  // namespace
}  // namespace vmm::test

// Asked by the leak sanitizer at exit.
extern "C" int __lsan_is_turned_off();
extern "C" int __lsan_is_turned_off() { return vmm::test::in_child_of_fork ? 1 : 0; }
