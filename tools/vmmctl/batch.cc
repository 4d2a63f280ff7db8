#include "batch.h"

#include <array>
#include <cstdio>
#include <ctime>

#include "columns.h"
#include "text.h"

namespace vmmctl {
namespace {

struct HostCounter {
  const char* name;
  std::uint64_t Snapshot::*member;
};
constexpr std::array kHostCounters{
    HostCounter{"Machine MBytes", &Snapshot::memory},
    HostCounter{"Consumed MBytes", &Snapshot::consumed},
    HostCounter{"Free MBytes", &Snapshot::free},
    HostCounter{"Minfree MBytes", &Snapshot::min_free},
    HostCounter{"Overhead MBytes", &Snapshot::overhead},
    HostCounter{"Reserved MBytes", &Snapshot::reserved},
    HostCounter{"PShare Shared MBytes", &Snapshot::shared},
    HostCounter{"PShare Common MBytes", &Snapshot::shared_common},
    HostCounter{"PShare Savings MBytes", &Snapshot::shared_saved},
    HostCounter{"Swap Used MBytes", &Snapshot::swapped},
    HostCounter{"Memctl Current MBytes", &Snapshot::ballooned},
    HostCounter{"Withheld MBytes", &Snapshot::withheld},
};

// A quotation mark inside is doubled.
std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + "\"";
}

// What others have named, as part of a counter's path.
std::string named(std::string_view text) { return percent_escaped(text, "\\()"); }

std::string number(double value) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.2f", value);
  return quoted(buffer.data());
}

constexpr double kMega = 1 << 20;

std::string utc_text(std::int64_t wall_time_ms) {
  const auto seconds = static_cast<std::time_t>(wall_time_ms / 1000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 64> buffer{};
  const auto length = std::strftime(buffer.data(), buffer.size(), "%m/%d/%Y %H:%M:%S", &utc);
  std::snprintf(buffer.data() + length, buffer.size() - length, ".%03d", static_cast<int>(wall_time_ms % 1000));
  return buffer.data();
}

std::string value_text(const Column& column, const Row& row) {
  const auto value = column.value(row);
  if (!value) return quoted("");
  switch (column.unit) {
    case Unit::bytes:
    case Unit::bytes_per_second: return number(*value / kMega);
    case Unit::balloon: return quoted(*value == 0 ? "0" : "1");
    case Unit::count:
    case Unit::node: return quoted(std::to_string(static_cast<std::int64_t>(*value)));
    case Unit::per_second:
    case Unit::percent: return number(*value);
  }
  return {};
}

}  // namespace

std::string Batch::heading(const Snapshot& now) const {
  std::string line = quoted("(PDH-CSV 4.0) (UTC)(0)");
  const auto counter = [&](const std::string& group, const char* name) {
    line += "," + quoted("\\\\" + named(machine_) + "\\" + group + "\\" + name);
  };
  counter("Memory", "Memory Overcommit");
  counter("Memory", "State");
  for (const HostCounter& host : kHostCounters) counter("Memory", host.name);
  for (const Node& node : now.homes) counter("Numa Node(" + std::to_string(node.id) + ")", "Free MBytes");
  for (const std::string& guest : guests_)
    for (const Column& column : columns()) counter("Group Memory(" + named(guest) + ")", column.batch_name);
  return line + "\n";
}

std::string Batch::lines(const Snapshot& now, bool restarted) {
  std::string text;
  if (!before_) {
    for (const Guest& guest : now.guests) guests_.push_back(guest.name);
    nodes_ = now.homes.size();
    text = heading(now);
  }
  const bool same = before_ && !restarted && before_->pid == now.pid;
  const auto rates = same ? rates_between(*before_, now) : std::map<std::string, GuestRates>();
  const auto size = static_cast<double>(now.sum(&Guest::memory));
  text += quoted(utc_text(now.wall_time_ms));
  text += "," + number(now.memory > 0 ? size / static_cast<double>(now.memory) : 0);
  text += "," + quoted(percent_escaped(now.state, ""));
  for (const HostCounter& host : kHostCounters) text += "," + number(static_cast<double>(now.*host.member) / kMega);
  for (std::size_t i = 0; i < nodes_; ++i)
    text += "," + (i < now.homes.size() ? number(static_cast<double>(now.homes[i].free) / kMega) : quoted(""));
  for (const std::string& name : guests_) {
    const Guest* guest = now.find(name);
    const auto at = rates.find(name);
    const Row row{guest, at != rates.end() ? std::optional(at->second) : std::nullopt};
    for (const Column& column : columns()) text += "," + (guest != nullptr ? value_text(column, row) : quoted(""));
  }
  before_ = now;
  return text + "\n";
}

}  // namespace vmmctl
