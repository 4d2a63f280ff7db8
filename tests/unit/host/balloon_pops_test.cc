// Pages that a driver gives and goes on using: judged by what has been free in the end.
#include <gtest/gtest.h>

#include <string>

#include "support/balloon_fakes.h"

namespace vmm::test {
namespace {

class BalloonPops : public BalloonFixture {};

TEST_F(BalloonPops, WhatIsUsedAgainBetweenTwoAnswersWasNotFreed) {
  set([](std::uint64_t bytes) { return Ranges{{0, bytes}}; });
  std::string told;
  for (int i = 0; i < 8 && told.empty(); ++i, now_ += std::chrono::seconds(1)) {
    inflate(100);  // and judged
    told = news();
    guest_.pop(0, 100);
  }
  EXPECT_NE(told.find("freed 0"), std::string::npos) << told;
}

TEST_F(BalloonPops, WhatIsUsedAgainMuchLaterWasFree) {
  set([](std::uint64_t bytes) { return Ranges{{0, bytes}}; });
  for (int i = 0; i < 8; ++i, now_ += std::chrono::seconds(10)) {
    EXPECT_EQ(inflate(100), 100u);
    EXPECT_EQ(news(), "");
    guest_.pop(0, 100);
  }
}

}  // namespace
}  // namespace vmm::test
