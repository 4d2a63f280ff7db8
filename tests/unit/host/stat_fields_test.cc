// The description of the figures is complete, and the document says what it says.
#include "host/stat_fields.h"

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace vmm::host {
namespace {

// What an aggregate is initialized with: as many of these as it has members, and not one more.
struct Anything {
  template <class T>
  operator T() const;  // NOLINT: meant to be implicit
};
template <class Stats, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires { Stats{(static_cast<void>(I), Anything{})...}; };
}
template <class Stats, std::size_t N = 1>
constexpr std::size_t members() {
  if constexpr (takes<Stats>(std::make_index_sequence<N + 1>()))
    return members<Stats, N + 1>();
  else
    return N;
}

template <class Stats>
void expect_once_each(std::span<const StatField<Stats>> fields, std::size_t lists) {
  EXPECT_EQ(fields.size() + lists, members<Stats>()) << "a member is missing from lib/host/stat_fields*.cc";
  std::set<std::string> names;
  Stats stats;
  std::set<const void*> places;
  for (const auto& field : fields) {
    EXPECT_TRUE(names.insert(field.name).second) << field.name << " twice";
    std::visit([&](auto member) { EXPECT_TRUE(places.insert(&(stats.*member)).second) << field.name; }, field.member);
    EXPECT_NE(std::string(field.help), "") << field.name;
    EXPECT_EQ(std::string(field.help).find_first_of("\n\\|"), std::string::npos) << field.name;
  }
}

TEST(StatFields, TellEveryMemberOnce) {
  expect_once_each(guest_fields(), 0);
  expect_once_each(pool_fields(), 0);
  expect_once_each(node_fields(), 0);
  expect_once_each(host_fields(), 4);
}

TEST(StatFields, MetricsAreNamedInBaseUnits) {
  EXPECT_EQ(metric_name("resident", StatKind::gauge, StatUnit::bytes), "resident_bytes");
  EXPECT_EQ(metric_name("faults", StatKind::counter, StatUnit::none), "faults_total");
  EXPECT_EQ(metric_name("stopped_ns", StatKind::counter, StatUnit::nanoseconds), "stopped_seconds_total");
  EXPECT_EQ(metric_name("wall_time_ms", StatKind::gauge, StatUnit::milliseconds), "wall_time_seconds");
  EXPECT_EQ(metric_name("share_saved_per_second", StatKind::gauge, StatUnit::bytes_per_second),
            "share_saved_bytes_per_second");
}

const char* unit_text(StatUnit unit) {
  switch (unit) {
    case StatUnit::bytes: return "bytes";
    case StatUnit::bytes_per_second: return "bytes/s";
    case StatUnit::nanoseconds: return "ns";
    case StatUnit::milliseconds: return "ms";
    case StatUnit::none: break;
  }
  return "";
}

// The table of docs/statistics.md between <!-- title --> and <!-- end -->.
template <class Stats>
std::string table(const std::string& title, const std::string& prefix, std::span<const StatField<Stats>> fields) {
  std::string out = "<!-- " + title + " -->\n| member | unit | esxtop | metric | what it is |\n|---|---|---|---|---|\n";
  for (const auto& field : fields) {
    std::string metric = "`" + prefix + metric_name(field.name, field.kind, field.unit) + "`";
    if (std::holds_alternative<LatencySummary Stats::*>(field.member) ||
        std::holds_alternative<LatencyHistogram Stats::*>(field.member))
      metric = "`" + prefix + field.name + "_seconds`";
    if (std::holds_alternative<std::string Stats::*>(field.member))
      metric = std::string(field.name) == "name" ? "a label of all" : "a label of `" + prefix + "info`";
    out += std::string("| `") + field.name + "` | " + unit_text(field.unit) + " | " + field.esxtop + " | " + metric +
           " | " + field.help + " |\n";
  }
  return out + "<!-- end -->\n";
}

// VMM_WRITE_DOCUMENTS=1 writes the tables instead.
TEST(StatFields, AreAllInTheDocument) {
  const std::string path = VMM_SOURCE_DIR "/docs/statistics.md";
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  auto document = text.str();
  const bool write = std::getenv("VMM_WRITE_DOCUMENTS") != nullptr;
  const auto expect = [&](const std::string& title, const std::string& wanted) {
    const auto begin = document.find("<!-- " + title + " -->\n");
    ASSERT_NE(begin, std::string::npos) << title << " is not in " << path;
    constexpr char kEnd[] = "<!-- end -->\n";
    const auto end = document.find(kEnd, begin);
    ASSERT_NE(end, std::string::npos);
    const auto length = end + sizeof kEnd - 1 - begin;
    if (write)
      document.replace(begin, length, wanted);
    else
      EXPECT_EQ(document.substr(begin, length), wanted) << "run this test with VMM_WRITE_DOCUMENTS=1";
  };
  expect("host", table("host", "vmm_host_", host_fields()));
  expect("guest", table("guest", "vmm_guest_", guest_fields()));
  expect("pool", table("pool", "vmm_pool_", pool_fields()));
  expect("node", table("node", "vmm_node_", node_fields()));
  if (write) std::ofstream(path) << document;
}

}  // namespace
}  // namespace vmm::host
