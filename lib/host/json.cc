// Statistics and events as JSON (RFC 8259).
#include "host/stat_fields.h"
#include "host/text_out.h"
#include "host/version.h"
#include "os/process.h"
#include "vmm/metrics.h"

namespace vmm {
namespace {

using host::append;

void append_value(std::string& out, const std::string& value) { host::append_json(out, value); }
void append_value(std::string& out, bool value) { out += value ? "true" : "false"; }
void append_value(std::string& out, MemoryState value) { host::append_json(out, to_string(value)); }
void append_value(std::string& out, std::uint64_t value) { append(out, value); }
void append_value(std::string& out, double value) { append(out, value); }
void append_value(std::string& out, int value) { append(out, value); }
void append_value(std::string& out, unsigned value) { append(out, value); }
void append_value(std::string& out, const LatencySummary& value) {
  out += "{\"count\":";
  append(out, value.count);
  out += ",\"sum_ns\":";
  append(out, value.sum_ns);
  out += ",\"p50_ns\":";
  append(out, value.p50_ns);
  out += ",\"p99_ns\":";
  append(out, value.p99_ns);
  out += ",\"max_ns\":";
  append(out, value.max_ns);
  out += '}';
}

void append_key(std::string& out, const char* key) {
  if (out.back() != '{') out += ',';
  out += '"';
  out += key;
  out += "\":";
}

template <class Stats>
void append_members(std::string& out, const Stats& stats, std::span<const host::StatField<Stats>> fields) {
  for (const auto& field : fields) {
    append_key(out, field.name);
    std::visit([&](auto member) { append_value(out, stats.*member); }, field.member);
  }
}

template <class List, class One>
void append_list(std::string& out, const char* key, const List& list, One one) {
  append_key(out, key);
  out += '[';
  for (const auto& item : list) {
    if (out.back() != '[') out += ',';
    one(item);
  }
  out += ']';
}

template <class Stats>
void append_objects(std::string& out, const char* key, const std::vector<Stats>& list,
                    std::span<const host::StatField<Stats>> fields) {
  append_list(out, key, list, [&](const Stats& stats) {
    out += '{';
    append_members(out, stats, fields);
    out += '}';
  });
}

void append_record(std::string& out, const EventRecord& record) {
  const auto& event = record.event;
  out += '{';
  append_key(out, "sequence");
  append(out, record.sequence);
  append_key(out, "time_ns");
  append(out, event.time.count());
  append_key(out, "kind");
  host::append_json(out, to_string(event.kind));
  append_key(out, "guest");
  host::append_json(out, event.guest);
  append_key(out, "bytes");
  append(out, event.bytes);
  append_key(out, "mechanism");
  host::append_json(out, event.mechanism);
  append_key(out, "reason");
  host::append_json(out, event.reason);
  out += '}';
}

}  // namespace

std::string to_json(const HostStats& stats) {
  constexpr std::size_t kOfGuest = 3500, kRest = 4096;
  std::string out;
  out.reserve(kRest + kOfGuest * stats.guests.size());
  out += '{';
  append_key(out, "version");
  host::append_json(out, host::version());
  append_key(out, "pid");
  append(out, os::process_id());
  append_members(out, stats, host::host_fields());
  append_objects(out, "pools", stats.pools, host::pool_fields());
  append_objects(out, "guests", stats.guests, host::guest_fields());
  append_list(out, "nodes", stats.nodes, [&](int node) { append(out, node); });
  append_objects(out, "homes", stats.homes, host::node_fields());
  out += "}\n";
  return out;
}

std::string to_json(const EventRecord& record) {
  std::string out;
  append_record(out, record);
  return out;
}

std::string to_json(const EventLedger& ledger) {
  std::string out = "{";
  append_key(out, "next");
  append(out, ledger.next);
  append_key(out, "lost");
  append(out, ledger.lost);
  append_list(out, "events", ledger.records, [&](const EventRecord& record) { append_record(out, record); });
  out += "}\n";
  return out;
}

}  // namespace vmm
