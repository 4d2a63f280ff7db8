// What the documents advise against is said, once for each setting: overcommitment beyond 1.5 times, reservations that
// are not used, limits below what is in use.
#include <string>

#include <gtest/gtest.h>

#include "support/host_rig.h"
#include "support/toucher.h"

namespace vmm {
namespace {

using test::HostRig;
using test::Toucher;

constexpr std::uint64_t pages(std::uint64_t bytes) { return bytes / kPageSize; }

class Advice : public test::EachWay {
 protected:
  static void adjust(HostOptions& o) { o.sample_period = std::chrono::seconds(60); }
  Guest add(const std::string& name, std::uint64_t memory, std::uint64_t reservation, std::uint64_t limit) {
    auto o = guest_options(name, memory);
    o.large_pages = false;
    o.reservation = reservation;
    o.limit = limit;
    auto guest = rig_.host().create_guest(o);
    EXPECT_TRUE(guest) << guest.error().message();
    return guest ? std::move(*guest) : Guest();
  }
  // A sample period passes and is dealt with.
  void pass_a_period(const Guest& guest) {
    const auto samples = guest.stats()->samples;
    rig_.tick(std::chrono::seconds(60));
    ASSERT_TRUE(test::eventually([&] {
      rig_.tick();
      return guest.stats()->samples > samples;
    }));
    rig_.tick(std::chrono::seconds(16));
    rig_.tick();
  }

  HostRig rig_{GetParam(), adjust};
};
VMM_EACH_WAY(Advice);

TEST_P(Advice, OvercommitmentBeyondOneAndAHalf) {
  auto a = rig_.add("a", pages(128 * MiB)), b = rig_.add("b", pages(64 * MiB));
  rig_.tick();
  EXPECT_EQ(rig_.events(EventKind::overcommit_advice).size(), 0u) << "it is 1.5 times";
  auto c = rig_.add("c", pages(4 * MiB));
  rig_.tick();
  const auto told = rig_.events(EventKind::overcommit_advice);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].guest, "c");
  EXPECT_EQ(told[0].bytes, 196 * MiB);
  EXPECT_NE(told[0].reason.find("196 MiB in 128 MiB"), std::string::npos) << told[0].reason;
  // Less of it, and again more: said again.
  c = Guest();
  auto d = rig_.add("d", pages(8 * MiB));
  rig_.tick();
  EXPECT_EQ(rig_.events(EventKind::overcommit_advice).size(), 2u);
}

TEST_P(Advice, AReservationThatIsNotUsed) {
  auto idle = add("idle", 48 * MiB, 40 * MiB, 0), busy = add("busy", 64 * MiB, 0, 0);
  test::fill_guest(idle, 1);
  test::fill_guest(busy, 2);
  rig_.tick();
  EXPECT_EQ(rig_.events(EventKind::reservation_advice).size(), 0u) << "nothing is known yet";
  for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(pass_a_period(idle));
  const auto told = rig_.events(EventKind::reservation_advice);
  ASSERT_EQ(told.size(), 1u) << "once";
  EXPECT_EQ(told[0].guest, "idle");
  EXPECT_EQ(told[0].bytes, 40 * MiB);
  EXPECT_NE(told[0].reason.find("40 MiB are reserved"), std::string::npos) << told[0].reason;
  ASSERT_TRUE(idle.configure({.reservation = 36 * MiB}));
  ASSERT_NO_FATAL_FAILURE(pass_a_period(idle));
  EXPECT_EQ(rig_.events(EventKind::reservation_advice).size(), 2u) << "and once for what it was changed to";
  ASSERT_TRUE(idle.configure({.reservation = 0}));
  for (int i = 0; i < 2; ++i) ASSERT_NO_FATAL_FAILURE(pass_a_period(idle));
  EXPECT_EQ(rig_.events(EventKind::reservation_advice).size(), 2u);
  EXPECT_EQ(test::wrong_in(idle, 1), "");
}

TEST_P(Advice, ALimitBelowWhatIsInUse) {
  auto filler = add("filler", 88 * MiB, 0, 0), limited = add("limited", 32 * MiB, 0, 12 * MiB);
  test::fill_guest(filler, 1);
  rig_.tick();
  // All of it is in use, in every period.
  Toucher busy(limited, 2, 0, pages(32 * MiB));
  EXPECT_TRUE(test::eventually([&] {
    const auto passes = busy.passes();
    if (!test::eventually([&] { return busy.passes() > passes + 1; })) return false;
    rig_.tick(std::chrono::seconds(60));
    return !rig_.events(EventKind::limit_advice).empty();
  })) << busy.passes() << " passes, " << limited.stats()->samples << " samples, " << rig_.host().stats()->free / MiB << " MiB free, " << limited.stats()->active << " bytes active";
  busy.stop();
  const auto told = rig_.events(EventKind::limit_advice);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].guest, "limited");
  EXPECT_EQ(told[0].bytes, 12 * MiB);
  EXPECT_NE(told[0].reason.find("limited to 12 MiB"), std::string::npos) << told[0].reason;
  EXPECT_EQ(rig_.events(EventKind::reservation_advice).size(), 0u);
  EXPECT_EQ(test::wrong_in(limited, 2), "");
}

}  // namespace
}  // namespace vmm
