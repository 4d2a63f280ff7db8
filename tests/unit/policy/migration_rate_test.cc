#include "policy/migration_rate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "vmm/units.h"

namespace vmm::policy {
namespace {

using namespace std::chrono_literals;

MigrationSnapshot guest() {
  MigrationSnapshot s;
  s.now = 1h;
  s.rehomed = s.now;
  s.resident = s.remote = 100 * GiB;
  s.destination_memory = s.destination_free = 1000 * GiB;
  return s;
}

TEST(MigrationRate, Table) {
  struct Case {
    const char* name;
    void (*change)(MigrationSnapshot&);
    double percent;  // of 100 GiB, a second
    const char* says;
  };
  const Case cases[] = {
      {"at once", [](MigrationSnapshot&) {}, 1, "2.0 % of 100 GiB a period"},
      {"nearly two periods", [](MigrationSnapshot& s) { s.now += 3999ms; }, 1, ""},
      {"two periods", [](MigrationSnapshot& s) { s.now += 4s; }, 2, "4.0 %"},
      {"three", [](MigrationSnapshot& s) { s.now += 6s; }, 4, ""},
      {"four", [](MigrationSnapshot& s) { s.now += 8s; }, 8, ""},
      {"no more than this", [](MigrationSnapshot& s) { s.now += 24h; }, 32, "64.0 %"},
      {"always remote", [](MigrationSnapshot& s) { s.rehomed.reset(); }, 32, "long remote"},
      {"a longer period",
       [](MigrationSnapshot& s) {
         s.period = 10s;
         s.now += 19s;
       },
       0.2, ""},
      {"a clock that goes back", [](MigrationSnapshot& s) { s.now -= 1min; }, 1, ""},
      {"nothing is remote", [](MigrationSnapshot& s) { s.remote = 0; }, 0, "no memory is remote"},
      {"little is left",
       [](MigrationSnapshot& s) {
         s.now += 1h;
         s.remote = 3 * GiB;
       },
       1, "66.7 % of the 3 GiB"},
      {"little is remote at first", [](MigrationSnapshot& s) { s.remote = 3 * GiB / 2; }, 0.5, "66.7 % of the 1.5 GiB"},
      {"homed back", [](MigrationSnapshot& s) { s.homed_back = true; }, 0, "homed back"},
      {"homed back, nearly two periods ago",
       [](MigrationSnapshot& s) {
         s.homed_back = true;
         s.now += 3999ms;
       },
       0, ""},
      {"homed back for good",
       [](MigrationSnapshot& s) {
         s.homed_back = true;
         s.now += 4s;
         s.remote = 3 * GiB;
       },
       1, ""},
      {"destination full", [](MigrationSnapshot& s) { s.destination_free = 0; }, 0, "0 bytes free"},
      {"destination at its reserve", [](MigrationSnapshot& s) { s.destination_free = 60 * GiB; }, 0, "60 GiB are kept"},
      {"destination short",
       [](MigrationSnapshot& s) {
         s.destination_free = 61 * GiB;
         s.now += 1h;
       },
       0.25, "50.0 % a period of the 1 GiB"},
      {"less is kept",
       [](MigrationSnapshot& s) {
         s.destination_free = 61 * GiB;
         s.min_free = 0.0;
         s.now += 1h;
       },
       15.25, ""},
      {"the maximum", [](MigrationSnapshot& s) { s.maximum = GiB / 2; }, 0.5, "the configured maximum"},
      {"below the maximum", [](MigrationSnapshot& s) { s.maximum = 2 * GiB; }, 1, ""},
  };
  for (const Case& c : cases) {
    MigrationSnapshot s = guest();
    c.change(s);
    const MigrationRate rate = plan_migration_rate(s);
    EXPECT_NEAR(static_cast<double>(rate.bytes_per_second) / static_cast<double>(GiB), c.percent, 1e-6)
        << c.name << ": " << rate.reason;
    EXPECT_NE(rate.reason.find(c.says), std::string::npos) << c.name << ": " << rate.reason;
    EXPECT_FALSE(rate.reason.empty()) << c.name;
  }
}

TEST(MigrationRate, TheLastOfItGoesAtOnce) {
  MigrationSnapshot s = guest();
  s.now += 1min;
  s.remote = 16 * MiB;
  EXPECT_EQ(plan_migration_rate(s).bytes_per_second, 8 * MiB);
  s.remote = 1;
  EXPECT_EQ(plan_migration_rate(s).bytes_per_second, 1U);
}

TEST(MigrationRate, ExtremesOfTheTypes) {
  constexpr auto kAll = std::numeric_limits<std::uint64_t>::max();
  MigrationSnapshot s = guest();
  s.resident = s.remote = s.destination_free = s.destination_memory = kAll;
  s.min_free = -1;
  s.now = std::chrono::nanoseconds::max();
  s.rehomed = 0ns;
  EXPECT_GT(plan_migration_rate(s).bytes_per_second, 0U);
  s.period = 0ns;
  EXPECT_GT(plan_migration_rate(s).bytes_per_second, 0U);
  s.min_free = 2;
  EXPECT_EQ(plan_migration_rate(s).bytes_per_second, 0U);
  s.resident = 0;  // less than what is remote
  s.min_free = 0;
  EXPECT_GT(plan_migration_rate(s).bytes_per_second, 0U);
}

// What is left remote after some time, planned once a period.
std::uint64_t left(MigrationSnapshot s, std::chrono::seconds time) {
  for (const auto end = s.now + time; s.now < end; s.now += s.period) {
    const double moved =
        static_cast<double>(plan_migration_rate(s).bytes_per_second) * std::chrono::duration<double>(s.period).count();
    const auto bytes = std::min(s.remote, static_cast<std::uint64_t>(moved + 0.5));
    s.remote -= bytes;
    s.destination_free -= bytes;
  }
  return s.remote;
}

TEST(MigrationRate, ABriefStayDragsNothingAlongAndALongOneEverything) {
  for (const std::uint64_t memory : {1 * MiB, 64 * MiB, 4 * GiB, 900 * GiB}) {
    MigrationSnapshot s = guest();
    s.resident = s.remote = memory;
    const std::uint64_t away = memory - left(s, 4s);
    EXPECT_LE(away, memory / 20) << memory;
    EXPECT_GT(away, 0U);
    EXPECT_LE(left(s, 20s), memory / 100) << memory;
    EXPECT_EQ(left(s, 60s), 0U) << memory;
    s.maximum = memory / 100;
    EXPECT_GE(left(s, 20s), memory - 20 * (memory / 100)) << memory;
  }
}

TEST(MigrationRate, TheDestinationKeepsItsReserve) {
  MigrationSnapshot s = guest();
  s.destination_free = 80 * GiB;
  EXPECT_GE(left(s, 1h), 80 * GiB);
  EXPECT_LE(left(s, 1h), 80 * GiB + MiB) << "all that the destination has above 60 GiB is used";
}

}  // namespace
}  // namespace vmm::policy
