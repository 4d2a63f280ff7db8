// Statistics as a table (RFC 4180).
#include <algorithm>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "host/stat_fields.h"
#include "host/text_out.h"
#include "vmm/metrics.h"

namespace vmm {
namespace {

using GuestField = host::StatField<GuestStats>;
using HostField = host::StatField<HostStats>;

// What stands under a name: a figure of the host, of a guest, or of both.
struct Column {
  const HostField* host = nullptr;
  const GuestField* guest = nullptr;
};

void append_value(std::string& out, const std::string& value) { host::append_csv(out, value); }
void append_value(std::string& out, bool value) { out += value ? '1' : '0'; }
void append_value(std::string& out, MemoryState value) { out += to_string(value); }
void append_value(std::string& out, std::uint64_t value) { host::append(out, value); }
void append_value(std::string& out, double value) { host::append(out, value); }
void append_value(std::string& out, int value) { host::append(out, value); }
void append_value(std::string& out, unsigned value) { host::append(out, value); }
void append_value(std::string& out, const LatencySummary& value) {
  const auto parts = {value.count, value.sum_ns, value.p50_ns, value.p99_ns, value.max_ns};
  for (const auto* part = parts.begin(); part != parts.end(); ++part) {
    if (part != parts.begin()) out += ',';
    host::append(out, *part);
  }
}

// Under the names of the guests' summaries; it knows no quantiles.
void append_value(std::string& out, const LatencyHistogram& value) {
  host::append(out, value.count);
  out += ',';
  host::append(out, value.sum_ns);
  out += ",,,";
}

constexpr const char* kLatencyParts[] = {"_count", "_sum_ns", "_p50_ns", "_p99_ns", "_max_ns"};

bool is_latency(const Column& column) {
  return column.guest != nullptr && std::holds_alternative<LatencySummary GuestStats::*>(column.guest->member);
}

// The guests' names first, then what only the host has.
std::vector<Column> columns() {
  std::vector<Column> all;
  for (const auto& field : host::guest_fields()) {
    Column column{nullptr, &field};
    for (const auto& of_host : host::host_fields())
      if (std::string_view(of_host.name) == field.name) column.host = &of_host;
    all.push_back(column);
  }
  for (const auto& field : host::host_fields())
    if (std::none_of(all.begin(), all.end(), [&](const Column& c) { return c.host == &field; }))
      all.push_back({&field, nullptr});
  return all;
}

}  // namespace

std::string to_csv(const HostStats& stats) {
  const auto all = columns();
  std::string out = "kind";
  for (const auto& column : all) {
    const char* name = column.guest != nullptr ? column.guest->name : column.host->name;
    if (is_latency(column)) {
      for (const char* part : kLatencyParts) (out += ',') += std::string(name) + part;
    } else {
      (out += ',') += name;
    }
  }
  out += "\nhost";
  for (const auto& column : all) {
    out += ',';
    if (column.host != nullptr)
      std::visit([&](auto member) { append_value(out, stats.*member); }, column.host->member);
    else if (is_latency(column))
      out.append(std::size(kLatencyParts) - 1, ',');
  }
  out += '\n';
  for (const auto& guest : stats.guests) {
    out += "guest";
    for (const auto& column : all) {
      out += ',';
      if (column.guest != nullptr)
        std::visit([&](auto member) { append_value(out, guest.*member); }, column.guest->member);
    }
    out += '\n';
  }
  return out;
}

}  // namespace vmm
