// Demand: who is active, told by what becomes of the pages that are taken.
#include "policy/demand.h"

#include <gtest/gtest.h>

namespace vmm::policy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A guest of 10,000 pages, seen ten times a second.
class Seen {
 public:
  // A second, with so many pages each.
  void second(std::uint64_t left, std::uint64_t rescued, std::uint64_t brought) {
    for (int i = 0; i < 10; ++i) {
      counts_.left += left / 10;
      counts_.rescued += rescued / 10;
      counts_.brought += brought / 10;
      demand_.see(now_ += milliseconds(100), counts_);
    }
  }
  bool known() const { return demand_.known(); }
  double activity() const { return demand_.activity(10'000); }

 private:
  Demand demand_;
  Demand::Counts counts_;
  std::chrono::nanoseconds now_ = seconds(1);
};

TEST(DemandTest, WithoutEvidenceAGuestIsActive) {
  Seen guest;
  EXPECT_EQ(guest.activity(), 1.0);
  guest.second(0, 0, 0);
  EXPECT_EQ(guest.activity(), 1.0);
  guest.second(10, 0, 0);
  EXPECT_GT(guest.activity(), 0.85) << "a few pages tell little";
  EXPECT_FALSE(guest.known());
  guest.second(100, 0, 0);
  EXPECT_TRUE(guest.known());
}

TEST(DemandTest, WhoMissesNothingIsIdleWithinASecondAndBelievedActiveAgainWhenItIsLeftAlone) {
  Seen guest;
  guest.second(2'000, 0, 0);
  EXPECT_LT(guest.activity(), 0.05);
  guest.second(2'000, 0, 100);
  EXPECT_LT(guest.activity(), 0.05) << "a page now and then is no activity";
  for (int i = 0; i < 60; ++i) guest.second(0, 0, 0);
  EXPECT_GT(guest.activity(), 0.9);
}

TEST(DemandTest, WhosePagesAreTouchedWhileTheyWaitIsActive) {
  Seen guest;
  for (int i = 0; i < 10; ++i) guest.second(1'000, 1'000, 0);
  EXPECT_NEAR(guest.activity(), 0.5, 0.02);
}

// It goes through all of its memory: no page is touched while it is parked, but everything comes back.
TEST(DemandTest, WhoTurnsItsMemoryOverIsActive) {
  Seen guest;
  for (int i = 0; i < 10; ++i) guest.second(4'000, 0, 4'000);
  EXPECT_EQ(guest.activity(), 1.0);
}

TEST(DemandTest, UseIsBelievedAtOnce) {
  Seen guest;
  for (int i = 0; i < 10; ++i) guest.second(2'000, 0, 0);
  EXPECT_LT(guest.activity(), 0.05);
  for (int i = 0; i < 2; ++i) guest.second(2'000, 2'000, 3'000);
  EXPECT_GT(guest.activity(), 0.8);
}

}  // namespace
}  // namespace vmm::policy
