// Statistics and events as JSON (RFC 8259).
#include "host/stat_fields.h"
#include "host/text_buffer.h"
#include "host/text_out.h"
#include "host/version.h"
#include "os/process.h"
#include "vmm/metrics.h"

namespace vmm {
namespace {

using host::TextBuffer;

void append_text(TextBuffer& out, std::string_view text) {
  std::string quoted;
  host::append_json(quoted, text);
  out += quoted;
}

void append_value(TextBuffer& out, const std::string& value) { append_text(out, value); }
void append_value(TextBuffer& out, bool value) { out += value ? "true" : "false"; }
void append_value(TextBuffer& out, MemoryState value) { append_text(out, to_string(value)); }
void append_value(TextBuffer& out, std::uint64_t value) { out.append(value); }
void append_value(TextBuffer& out, double value) { out.append(value); }
void append_value(TextBuffer& out, int value) { out.append(value); }
void append_value(TextBuffer& out, unsigned value) { out.append(value); }
// What summaries and histograms begin with.
template <class Latency>
void append_sum(TextBuffer& out, const Latency& value) {
  out += "{\"count\":";
  out.append(value.count);
  out += ",\"sum_ns\":";
  out.append(value.sum_ns);
}
void append_value(TextBuffer& out, const LatencySummary& value) {
  append_sum(out, value);
  out += ",\"p50_ns\":";
  out.append(value.p50_ns);
  out += ",\"p99_ns\":";
  out.append(value.p99_ns);
  out += ",\"max_ns\":";
  out.append(value.max_ns);
  out += '}';
}

template <class Number>
void append_numbers(TextBuffer& out, std::size_t count, Number number) {
  out += '[';
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    out.append(number(i));
  }
  out += ']';
}
// The last bucket has no end.
void append_value(TextBuffer& out, const LatencyHistogram& value) {
  append_sum(out, value);
  out += ",\"up_to_ns\":";
  append_numbers(out, LatencyHistogram::kBuckets - 1, LatencyHistogram::up_to_ns);
  out += ",\"counts\":";
  append_numbers(out, LatencyHistogram::kBuckets, [&](std::size_t i) { return value.counts[i]; });
  out += '}';
}

void append_key(TextBuffer& out, const char* key) {
  if (out.back() != '{') out += ',';
  out += '"';
  out += key;
  out += "\":";
}

template <class Stats>
void append_members(TextBuffer& out, const Stats& stats, std::span<const host::StatField<Stats>> fields) {
  for (const auto& field : fields) {
    append_key(out, field.name);
    std::visit([&](auto member) { append_value(out, stats.*member); }, field.member);
  }
}

template <class List, class One>
void append_list(TextBuffer& out, const char* key, const List& list, One one) {
  append_key(out, key);
  out += '[';
  for (const auto& item : list) {
    if (out.back() != '[') out += ',';
    one(item);
  }
  out += ']';
}

template <class Stats>
void append_objects(TextBuffer& out, const char* key, const std::vector<Stats>& list,
                    std::span<const host::StatField<Stats>> fields) {
  append_list(out, key, list, [&](const Stats& stats) {
    out += '{';
    append_members(out, stats, fields);
    out += '}';
  });
}

void append_record(TextBuffer& out, const EventRecord& record) {
  const auto& event = record.event;
  out += '{';
  append_key(out, "sequence");
  out.append(record.sequence);
  append_key(out, "time_ns");
  out.append(event.time.count());
  append_key(out, "kind");
  append_text(out, to_string(event.kind));
  append_key(out, "guest");
  append_text(out, event.guest);
  append_key(out, "bytes");
  out.append(event.bytes);
  append_key(out, "mechanism");
  append_text(out, event.mechanism);
  append_key(out, "reason");
  append_text(out, event.reason);
  out += '}';
}

}  // namespace

std::string to_json(const HostStats& stats) {
  constexpr std::size_t kOfGuest = 3500, kRest = 4096;
  TextBuffer out(kRest + kOfGuest * stats.guests.size());
  out += '{';
  append_key(out, "version");
  append_text(out, host::version());
  append_key(out, "pid");
  out.append(os::process_id());
  append_members(out, stats, host::host_fields());
  append_objects(out, "pools", stats.pools, host::pool_fields());
  append_objects(out, "guests", stats.guests, host::guest_fields());
  append_list(out, "nodes", stats.nodes, [&](int node) { out.append(node); });
  append_objects(out, "homes", stats.homes, host::node_fields());
  out += "}\n";
  return out.take();
}

std::string to_json(const EventRecord& record) {
  TextBuffer out;
  append_record(out, record);
  return out.take();
}

std::string to_json(const EventLedger& ledger) {
  TextBuffer out;
  out += '{';
  append_key(out, "next");
  out.append(ledger.next);
  append_key(out, "lost");
  out.append(ledger.lost);
  append_list(out, "events", ledger.records, [&](const EventRecord& record) { append_record(out, record); });
  out += "}\n";
  return out.take();
}

}  // namespace vmm
