// Statistics in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/).
#include <type_traits>
#include <vector>

#include "host/stat_fields.h"
#include "host/text_out.h"
#include "host/version.h"
#include "vmm/metrics.h"

namespace vmm {
namespace {

using host::append;
using host::StatKind;
using host::StatUnit;

// One of several objects of a kind, and its labels: guest="db-1".
template <class Stats>
struct Labelled {
  const Stats* stats;
  std::string labels;
};
template <class Stats>
using All = std::vector<Labelled<Stats>>;

void append_help(std::string& out, const std::string& metric, const char* type, const char* help) {
  out += "# HELP " + metric + ' ' + help + "\n# TYPE " + metric + ' ' + type + '\n';
}

// name{labels} without the value.
void append_name(std::string& out, const std::string& metric, const std::string& labels, const char* more = "") {
  out += metric;
  if (!labels.empty() || *more != '\0') {
    out += '{';
    out += labels;
    if (!labels.empty() && *more != '\0') out += ',';
    out += more;
    out += '}';
  }
  out += ' ';
}

void append_value(std::string& out, std::uint64_t value, StatUnit unit) {
  if (unit == StatUnit::nanoseconds)
    host::append_decimal(out, value, 9);
  else if (unit == StatUnit::milliseconds)
    host::append_decimal(out, value, 3);
  else
    append(out, value);
}
void append_value(std::string& out, double value, StatUnit) { append(out, value); }
void append_value(std::string& out, int value, StatUnit) { append(out, value); }
void append_value(std::string& out, unsigned value, StatUnit) { append(out, value); }
void append_value(std::string& out, bool value, StatUnit) { out += value ? '1' : '0'; }

template <class Stats>
void append_latency(std::string& out, const std::string& prefix, const host::StatField<Stats>& field,
                    LatencySummary Stats::*member, const All<Stats>& all) {
  const auto metric = prefix + field.name + "_seconds";
  append_help(out, metric, "summary", field.help);
  const auto sum = metric + "_sum", count = metric + "_count", max = prefix + field.name + "_max_seconds";
  const auto line = [&](const std::string& name, const std::string& labels, const char* more, std::uint64_t ns) {
    append_name(out, name, labels, more);
    append_value(out, ns, StatUnit::nanoseconds);
    out += '\n';
  };
  for (const auto& one : all) {
    const auto& latency = one.stats->*member;
    if (latency.count > 0) {  // there is no quantile of nothing
      line(metric, one.labels, "quantile=\"0.5\"", latency.p50_ns);
      line(metric, one.labels, "quantile=\"0.99\"", latency.p99_ns);
    }
    line(sum, one.labels, "", latency.sum_ns);
    append_name(out, count, one.labels);
    append(out, latency.count);
    out += '\n';
  }
  append_help(out, max, "gauge", (std::string("longest of: ") + field.help).c_str());
  for (const auto& one : all) line(max, one.labels, "", (one.stats->*member).max_ns);
}

// One metric for each state, of which one is 1.
template <class Stats>
void append_state(std::string& out, const std::string& metric, const host::StatField<Stats>& field,
                  MemoryState Stats::*member, const All<Stats>& all) {
  append_help(out, metric, "gauge", field.help);
  for (const auto& one : all)
    for (const auto state :
         {MemoryState::high, MemoryState::clear, MemoryState::soft, MemoryState::hard, MemoryState::low}) {
      append_name(out, metric, one.labels, (std::string("state=\"") + to_string(state) + '"').c_str());
      append_value(out, one.stats->*member == state, StatUnit::none);
      out += '\n';
    }
}

// Texts are labels of a metric of their own, whose value is 1.
template <class Stats>
void append_info(std::string& out, const std::string& prefix, std::span<const host::StatField<Stats>> fields,
                 const All<Stats>& all, const std::string& more) {
  std::vector<std::pair<const char*, std::string Stats::*>> texts;
  for (const auto& field : fields)
    if (const auto* text = std::get_if<std::string Stats::*>(&field.member))
      if (std::string_view(field.name) != "name") texts.emplace_back(field.name, *text);
  if (texts.empty()) return;
  append_help(out, prefix + "info", "gauge", "1; its labels tell what is text");
  for (const auto& one : all) {
    auto labels = more;
    for (const auto& [name, member] : texts) {
      if (!labels.empty()) labels += ',';
      labels += std::string(name) + "=\"";
      host::append_label(labels, one.stats->*member);
      labels += '"';
    }
    append_name(out, prefix + "info", one.labels, labels.c_str());
    out += "1\n";
  }
}

template <class Stats>
void append_all(std::string& out, const std::string& prefix, std::span<const host::StatField<Stats>> fields,
                const All<Stats>& all, const std::string& more_info = {}) {
  if (all.empty()) return;
  append_info(out, prefix, fields, all, more_info);
  for (const auto& field : fields) {
    const auto each = [&](auto Stats::*member) {
      using Value = std::remove_reference_t<decltype(all[0].stats->*member)>;
      if constexpr (std::is_same_v<Value, const std::string>) {
        return;  // in append_info
      } else if constexpr (std::is_same_v<Value, const LatencySummary>) {
        append_latency(out, prefix, field, member, all);
      } else {
        const auto metric = prefix + host::metric_name(field.name, field.kind, field.unit);
        if constexpr (std::is_same_v<Value, const MemoryState>) {
          append_state(out, metric, field, member, all);
        } else {
          append_help(out, metric, field.kind == StatKind::counter ? "counter" : "gauge", field.help);
          for (const auto& one : all) {
            append_name(out, metric, one.labels);
            append_value(out, one.stats->*member, field.unit);
            out += '\n';
          }
        }
      }
    };
    std::visit(each, field.member);
  }
}

std::string label(const char* name, std::string_view value) {
  auto text = std::string(name) + "=\"";
  host::append_label(text, value);
  return text += '"';
}

}  // namespace

std::string to_prometheus(const HostStats& stats) {
  constexpr std::size_t kOfGuest = 9000, kRest = 16384;
  std::string out;
  out.reserve(kRest + kOfGuest * stats.guests.size());
  append_all(out, "vmm_host_", host::host_fields(), All<HostStats>{{&stats, {}}}, label("version", host::version()));
  All<PoolStats> pools;
  for (const auto& pool : stats.pools) pools.push_back({&pool, label("pool", pool.name)});
  append_all(out, "vmm_pool_", host::pool_fields(), pools);
  All<NodeStats> nodes;
  for (const auto& node : stats.homes) nodes.push_back({&node, label("node", std::to_string(node.id))});
  append_all(out, "vmm_node_", host::node_fields(), nodes);
  All<GuestStats> guests;
  for (const auto& guest : stats.guests) guests.push_back({&guest, label("guest", guest.name)});
  append_all(out, "vmm_guest_", host::guest_fields(), guests);
  return out;
}

}  // namespace vmm
