// What is exported, read by parsers that are not ours.
#include "vmm/metrics.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "host/stat_fields.h"
#include "host/text_out.h"
#include "support/temp_directory.h"

namespace vmm {
namespace {

using nlohmann::json;

// No bucket holds as much as another.
LatencyHistogram histogram(std::uint64_t from) {
  LatencyHistogram h;
  for (std::size_t i = 0; i < h.counts.size(); ++i) h.count += h.counts[i] = from + i;
  h.sum_ns = from;
  return h;
}

// Gives every member a value of its own, by the description.
template <class Stats>
void number(Stats& stats, std::span<const host::StatField<Stats>> fields, std::uint64_t from) {
  for (const auto& field : fields) {
    ++from;
    const auto set = [&](auto member) {
      auto& value = stats.*member;
      using Value = std::remove_reference_t<decltype(value)>;
      if constexpr (std::is_same_v<Value, std::string>)
        value = field.name + std::to_string(from);
      else if constexpr (std::is_same_v<Value, LatencySummary>)
        value = {from, from + 1, from + 2, from + 3, from + 4};
      else if constexpr (std::is_same_v<Value, LatencyHistogram>)
        value = histogram(from);
      else if constexpr (std::is_same_v<Value, MemoryState>)
        value = MemoryState::hard;
      else
        value = static_cast<Value>(from);
    };
    std::visit(set, field.member);
  }
}

const std::vector<std::string> kNames = {"db-1",
                                         "a\"b\\c",
                                         "line\nbreak",
                                         "{guest=\"x\"} 1",
                                         "comma,\r\ttab",
                                         "\xff\xfe",
                                         "gr\xc3\xbc\xc3\x9f",
                                         std::string("nul\0inside", 10),
                                         "\xee\xbf\xbf\xee\xbf\xbe",
                                         "# HELP x",
                                         "=1+1"};

HostStats sample() {
  HostStats s;
  number(s, host::host_fields(), 1000);
  for (const auto& name : kNames) {
    s.guests.emplace_back();
    number(s.guests.back(), host::guest_fields(), 10'000 * s.guests.size());
    s.guests.back().name = name;
  }
  s.guests[0].memory = std::numeric_limits<std::uint64_t>::max();
  s.guests[1].fill_latency = {};
  s.pools.emplace_back();
  number(s.pools.back(), host::pool_fields(), 2000);
  s.pools.back().name = "/";
  s.nodes = {0, 2};
  for (const int id : s.nodes) {
    s.homes.emplace_back();
    number(s.homes.back(), host::node_fields(), 3000);
    s.homes.back().id = id;
  }
  return s;
}

template <class Stats>
void expect_members(const json& object, const Stats& stats, std::span<const host::StatField<Stats>> fields) {
  for (const auto& field : fields) {
    ASSERT_TRUE(object.contains(field.name)) << field.name;
    const auto& found = object.at(field.name);
    const auto compare = [&](auto member) {
      const auto& value = stats.*member;
      using Value = std::remove_cvref_t<decltype(value)>;
      if constexpr (std::is_same_v<Value, std::string>) {
        EXPECT_EQ(found.template get<std::string>(), host::utf8(value)) << field.name;
      } else if constexpr (std::is_same_v<Value, LatencySummary>) {
        EXPECT_EQ(found.at("count"), value.count) << field.name;
        EXPECT_EQ(found.at("sum_ns"), value.sum_ns) << field.name;
        EXPECT_EQ(found.at("p50_ns"), value.p50_ns) << field.name;
        EXPECT_EQ(found.at("p99_ns"), value.p99_ns) << field.name;
        EXPECT_EQ(found.at("max_ns"), value.max_ns) << field.name;
      } else if constexpr (std::is_same_v<Value, LatencyHistogram>) {
        EXPECT_EQ(found.at("count"), value.count) << field.name;
        EXPECT_EQ(found.at("sum_ns"), value.sum_ns) << field.name;
        EXPECT_EQ(found.at("counts"), json(value.counts)) << field.name;
        ASSERT_EQ(found.at("up_to_ns").size() + 1, value.counts.size()) << field.name;
        EXPECT_EQ(found.at("up_to_ns").at(0), 1023);
        EXPECT_EQ(found.at("up_to_ns").back(), (std::uint64_t{1} << 33) - 1);
      } else if constexpr (std::is_same_v<Value, MemoryState>) {
        EXPECT_EQ(found, to_string(value)) << field.name;
      } else {
        EXPECT_EQ(found.template get<Value>(), value) << field.name;
      }
    };
    std::visit(compare, field.member);
  }
}

TEST(Metrics, JsonHoldsEveryMemberByItsName) {
  const auto stats = sample();
  const auto object = json::parse(to_json(stats));
  expect_members(object, stats, host::host_fields());
  EXPECT_EQ(object.at("pid"), ::getpid());
  EXPECT_FALSE(object.at("version").get<std::string>().empty());
  EXPECT_EQ(object.at("nodes"), json::array({0, 2}));
  ASSERT_EQ(object.at("guests").size(), stats.guests.size());
  for (std::size_t i = 0; i < stats.guests.size(); ++i)
    expect_members(object.at("guests").at(i), stats.guests[i], host::guest_fields());
  expect_members(object.at("pools").at(0), stats.pools[0], host::pool_fields());
  ASSERT_EQ(object.at("homes").size(), 2U);
  expect_members(object.at("homes").at(1), stats.homes[1], host::node_fields());
}

TEST(Metrics, JsonOfNothingIsWholeToo) {
  const auto object = json::parse(to_json(HostStats()));
  EXPECT_TRUE(object.at("guests").empty());
  EXPECT_EQ(object.at("state"), "high");
}

TEST(Metrics, JsonTellsEvents) {
  EventLedger ledger;
  ledger.next = 12;
  ledger.lost = 3;
  for (const auto& name : kNames) {
    Event event;
    event.kind = EventKind::reclaimed;
    event.time = std::chrono::nanoseconds(7);
    event.guest = name;
    event.bytes = 4096;
    event.mechanism = "swap";
    event.reason = "because of \"" + name + "\"";
    ledger.records.push_back({ledger.records.size() + 1, event});
  }
  const auto object = json::parse(to_json(ledger));
  EXPECT_EQ(object.at("next"), 12);
  EXPECT_EQ(object.at("lost"), 3);
  ASSERT_EQ(object.at("events").size(), kNames.size());
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    const auto& event = object.at("events").at(i);
    EXPECT_EQ(event.at("sequence"), i + 1);
    EXPECT_EQ(event.at("time_ns"), 7);
    EXPECT_EQ(event.at("kind"), "reclaimed");
    EXPECT_EQ(event.at("guest"), host::utf8(kNames[i]));
    EXPECT_EQ(event.at("bytes"), 4096);
    EXPECT_EQ(event.at("mechanism"), "swap");
    EXPECT_EQ(event.at("reason"), "because of \"" + host::utf8(kNames[i]) + "\"");
    EXPECT_EQ(json::parse(to_json(ledger.records[i])), event);
  }
}

// Runs python3 with the program on the text. Returns what it prints; "missing" where it lacks a module.
std::string python(const std::string& program, const std::string& text) {
  const test::TempDirectory directory;
  const auto input = directory.path() + "/input", script = directory.path() + "/script.py";
  std::ofstream(input, std::ios::binary) << text;
  std::ofstream(script) << program;
  // Debian's: another one may come first in PATH, without Debian's modules.
  const std::string interpreter = ::access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3 " : "python3 ";
  const auto command = interpreter + script + " " + input + " 2>&1";
  auto* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return "missing";
  std::string out;
  for (int c; (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
  const int status = ::pclose(pipe);
  return status == 0 ? out : "missing: " + out;
}

// Metrics as Prometheus' own parser for Python reads them: type, name, labels and value of each as JSON.
TEST(Metrics, PrometheusReadsItsFormat) {
  if (python("import prometheus_client\nprint('there')", "") != "there\n")
    GTEST_SKIP() << "python3-prometheus-client is not installed";
  const auto stats = sample();
  const auto out = python(R"(
import json, sys
from prometheus_client.parser import text_string_to_metric_families
text = open(sys.argv[1], encoding='utf-8', newline='').read()
families = [[f.type, f.name, f.documentation, [[s.name, s.labels, s.value] for s in f.samples]]
            for f in text_string_to_metric_families(text)]
json.dump(families, sys.stdout)
)",
                          to_prometheus(stats));
  ASSERT_EQ(out.substr(0, 1), "[") << out;
  std::map<std::pair<std::string, std::string>, double> values;  // by name and labels
  std::map<std::string, std::string> types;
  for (const auto& family : json::parse(out)) {
    EXPECT_NE(family.at(2), "") << family.at(1);
    EXPECT_NE(family.at(0), "unknown") << family.at(1) << " has no TYPE";
    for (const auto& s : family.at(3)) {
      const auto key = std::pair{s.at(0).get<std::string>(), s.at(1).dump()};
      EXPECT_TRUE(values.emplace(key, s.at(2).get<double>()).second) << key.first << key.second << " twice";
      types[key.first] = family.at(0);
    }
  }
  const auto guest = [&](const std::string& metric, std::size_t i, json labels = json::object()) {
    labels["guest"] = host::utf8(kNames[i]);
    const auto found = values.find({"vmm_guest_" + metric, labels.dump()});
    EXPECT_NE(found, values.end()) << metric << labels.dump();
    return found == values.end() ? -1 : found->second;
  };
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    const auto& g = stats.guests[i];
    EXPECT_EQ(guest("resident_bytes", i), static_cast<double>(g.resident));
    EXPECT_EQ(guest("faults_total", i), static_cast<double>(g.faults));
    EXPECT_DOUBLE_EQ(guest("stopped_seconds_total", i), static_cast<double>(g.stopped_ns) / 1e9);
    EXPECT_EQ(guest("rescue_latency_seconds_count", i), static_cast<double>(g.rescue_latency.count));
    EXPECT_DOUBLE_EQ(guest("rescue_latency_seconds_sum", i), static_cast<double>(g.rescue_latency.sum_ns) / 1e9);
    EXPECT_DOUBLE_EQ(guest("rescue_latency_seconds", i, {{"quantile", "0.99"}}),
                     static_cast<double>(g.rescue_latency.p99_ns) / 1e9);
    EXPECT_DOUBLE_EQ(guest("rescue_latency_max_seconds", i), static_cast<double>(g.rescue_latency.max_ns) / 1e9);
    EXPECT_EQ(guest("info", i, {{"pool", g.pool}}), 1);
  }
  EXPECT_EQ(types.at("vmm_guest_faults_total"), "counter");
  EXPECT_EQ(types.at("vmm_host_rescue_latency_seconds_bucket"), "histogram");
  const auto bucket = [&](const char* up_to) {
    return values.at({"vmm_host_rescue_latency_seconds_bucket", json({{"le", up_to}}).dump()});
  };
  const auto& rescues = stats.rescue_latency;
  EXPECT_EQ(bucket("0.000001023"), static_cast<double>(rescues.counts[0]));
  EXPECT_EQ(bucket("0.000002047"), static_cast<double>(rescues.counts[0] + rescues.counts[1]));
  EXPECT_EQ(bucket("+Inf"), static_cast<double>(rescues.count));
  EXPECT_EQ(values.at({"vmm_host_rescue_latency_seconds_count", "{}"}), static_cast<double>(rescues.count));
  EXPECT_EQ(types.at("vmm_guest_resident_bytes"), "gauge");
  EXPECT_EQ(types.at("vmm_guest_rescue_latency_seconds_count"), "summary");
  EXPECT_EQ(values.count({"vmm_guest_fill_latency_seconds", R"({"guest":"a\"b\\c","quantile":"0.5"})"}), 0U)
      << "a quantile of nothing";
  const auto state = [&](const char* name) { return values.at({"vmm_host_state", json({{"state", name}}).dump()}); };
  EXPECT_EQ(state("hard"), 1);
  EXPECT_EQ(state("high"), 0);
  EXPECT_EQ(values.count({"vmm_node_free_bytes", R"({"node":"2"})"}), 1U);
  EXPECT_EQ(values.count({"vmm_pool_consumed_bytes", R"({"pool":"/"})"}), 1U);
}

// Every figure of the description is there.
TEST(Metrics, PrometheusHoldsEveryMember) {
  const auto text = to_prometheus(sample());
  const auto expect = [&](const std::string& prefix, const auto& fields) {
    for (const auto& field : fields) {
      const bool is_text = field.member.index() == 5, is_latency = field.member.index() == 6 || field.member.index() == 8;
      if (is_text) continue;
      const auto name = prefix + (is_latency ? std::string(field.name) + "_seconds"
                                             : host::metric_name(field.name, field.kind, field.unit));
      EXPECT_NE(text.find("# TYPE " + name + " "), std::string::npos) << name;
    }
  };
  expect("vmm_host_", host::host_fields());
  expect("vmm_guest_", host::guest_fields());
  expect("vmm_pool_", host::pool_fields());
  expect("vmm_node_", host::node_fields());
}

TEST(Metrics, CsvReadsAsATable) {
  const auto stats = sample();
  const auto out = python(R"(
import csv, json, sys
with open(sys.argv[1], encoding='utf-8', newline='') as f: rows = list(csv.reader(f, lineterminator='\n'))
json.dump([dict(zip(rows[0], r)) if len(r) == len(rows[0]) and len(set(rows[0])) == len(r) else None for r in rows[1:]],
          sys.stdout)
)",
                          [&] {
                            auto named = stats;  // Python's reader takes no NUL
                            for (auto& guest : named.guests)
                              std::replace(guest.name.begin(), guest.name.end(), '\0', '0');
                            return to_csv(named);
                          }());
  if (out.substr(0, 7) == "missing") GTEST_SKIP() << "python3 is not installed: " << out;
  const auto rows = json::parse(out);
  ASSERT_EQ(rows.size(), stats.guests.size() + 1);
  EXPECT_EQ(rows[0].at("kind"), "host");
  EXPECT_EQ(rows[0].at("consumed"), std::to_string(stats.consumed));
  EXPECT_EQ(rows[0].at("memory"), std::to_string(stats.memory));
  EXPECT_EQ(rows[0].at("state"), "hard");
  EXPECT_EQ(rows[0].at("resident"), "");
  EXPECT_EQ(rows[0].at("fill_latency_max_ns"), "");
  for (std::size_t i = 0; i < stats.guests.size(); ++i) {
    const auto& row = rows[i + 1];
    EXPECT_EQ(row.at("kind"), "guest");
    auto name = host::utf8(kNames[i]);
    std::replace(name.begin(), name.end(), '\0', '0');
    EXPECT_EQ(row.at("name"), name);
    EXPECT_EQ(row.at("memory"), std::to_string(stats.guests[i].memory));
    EXPECT_EQ(row.at("state"), "");
    EXPECT_EQ(row.at("rescue_latency_p99_ns"), std::to_string(stats.guests[i].rescue_latency.p99_ns));
    EXPECT_EQ(row.at("swap_failed"), "1");
  }
}

}  // namespace
}  // namespace vmm
