// Statistics in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/).
#include <type_traits>
#include <vector>

#include "host/stat_fields.h"
#include "host/text_buffer.h"
#include "host/text_out.h"
#include "host/version.h"
#include "vmm/metrics.h"

namespace vmm {
namespace {

using host::StatKind;
using host::StatUnit;
using host::TextBuffer;

// With a label more.
std::string between_with(const std::string& labels, const std::string& more) {
  return '{' + labels + (labels.empty() ? "" : ",") + more + "} ";
}

// One of several objects of a kind, and its labels: guest="db-1".
template <class Stats>
struct Labelled {
  Labelled(const Stats* of, std::string l)
      : stats(of),
        labels(std::move(l)),
        between(labels.empty() ? " " : '{' + labels + "} "),
        median(between_with(labels, "quantile=\"0.5\"")),
        high(between_with(labels, "quantile=\"0.99\"")) {}
  const Stats* stats;
  std::string labels;
  std::string between;       // what stands between a metric's name and its value
  std::string median, high;  // the same for quantiles
};
template <class Stats>
using All = std::vector<Labelled<Stats>>;

void append_help(TextBuffer& out, const std::string& metric, const char* type, const char* help) {
  out += "# HELP " + metric + ' ' + help + "\n# TYPE " + metric + ' ' + type + '\n';
}

void append_value(TextBuffer& out, std::uint64_t value, StatUnit unit) {
  if (unit == StatUnit::nanoseconds)
    out.append_decimal(value, 9);
  else if (unit == StatUnit::milliseconds)
    out.append_decimal(value, 3);
  else
    out.append(value);
}
void append_value(TextBuffer& out, double value, StatUnit) { out.append(value); }
void append_value(TextBuffer& out, int value, StatUnit) { out.append(value); }
void append_value(TextBuffer& out, unsigned value, StatUnit) { out.append(value); }
void append_value(TextBuffer& out, bool value, StatUnit) { out += value ? '1' : '0'; }

template <class Value>
void append_line(TextBuffer& out, const std::string& metric, const std::string& between, Value value,
                 StatUnit unit = StatUnit::none) {
  out += metric;
  out += between;
  append_value(out, value, unit);
  out += '\n';
}

template <class Stats>
void append_latency(TextBuffer& out, const std::string& prefix, const host::StatField<Stats>& field,
                    LatencySummary Stats::*member, const All<Stats>& all) {
  const auto metric = prefix + field.name + "_seconds";
  append_help(out, metric, "summary", field.help);
  const auto sum = metric + "_sum", count = metric + "_count", max = prefix + field.name + "_max_seconds";
  for (const auto& one : all) {
    const auto& latency = one.stats->*member;
    if (latency.count > 0) {  // there is no quantile of nothing
      append_line(out, metric, one.median, latency.p50_ns, field.unit);
      append_line(out, metric, one.high, latency.p99_ns, field.unit);
    }
    append_line(out, sum, one.between, latency.sum_ns, field.unit);
    append_line(out, count, one.between, latency.count);
  }
  append_help(out, max, "gauge", (std::string("longest of: ") + field.help).c_str());
  for (const auto& one : all) append_line(out, max, one.between, (one.stats->*member).max_ns, field.unit);
}

// Buckets count all that took at most so long, and the last one all.
template <class Stats>
void append_histogram(TextBuffer& out, const std::string& prefix, const host::StatField<Stats>& field,
                      LatencyHistogram Stats::*member, const All<Stats>& all) {
  const auto metric = prefix + field.name + "_seconds";
  append_help(out, metric, "histogram", field.help);
  const auto bucket = metric + "_bucket", sum = metric + "_sum", count = metric + "_count";
  for (const auto& one : all) {
    const auto& latency = one.stats->*member;
    std::uint64_t so_far = 0;
    for (std::size_t i = 0; i < latency.counts.size(); ++i) {
      char up_to[host::kNumber] = "+Inf";
      if (i + 1 < latency.counts.size()) *host::write_decimal(up_to, LatencyHistogram::up_to_ns(i), 9) = '\0';
      so_far += latency.counts[i];
      append_line(out, bucket, between_with(one.labels, std::string("le=\"") + up_to + '"'), so_far);
    }
    append_line(out, sum, one.between, latency.sum_ns, field.unit);
    append_line(out, count, one.between, latency.count);
  }
}

// One metric for each state, of which one is 1.
template <class Stats>
void append_state(TextBuffer& out, const std::string& metric, const host::StatField<Stats>& field,
                  MemoryState Stats::*member, const All<Stats>& all) {
  append_help(out, metric, "gauge", field.help);
  for (const auto& one : all)
    for (const auto state :
         {MemoryState::high, MemoryState::clear, MemoryState::soft, MemoryState::hard, MemoryState::low}) {
      append_line(out, metric, between_with(one.labels, std::string("state=\"") + to_string(state) + '"'),
                  one.stats->*member == state);
    }
}

// Texts are labels of a metric of their own, whose value is 1.
template <class Stats>
void append_info(TextBuffer& out, const std::string& prefix, std::span<const host::StatField<Stats>> fields,
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
    append_line(out, prefix + "info", between_with(one.labels, labels), true);
  }
}

template <class Stats>
void append_all(TextBuffer& out, const std::string& prefix, std::span<const host::StatField<Stats>> fields,
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
      } else if constexpr (std::is_same_v<Value, const LatencyHistogram>) {
        append_histogram(out, prefix, field, member, all);
      } else {
        const auto metric = prefix + host::metric_name(field.name, field.kind, field.unit);
        if constexpr (std::is_same_v<Value, const MemoryState>) {
          append_state(out, metric, field, member, all);
        } else {
          append_help(out, metric, field.kind == StatKind::counter ? "counter" : "gauge", field.help);
          for (const auto& one : all) {
            append_line(out, metric, one.between, one.stats->*member, field.unit);
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
  TextBuffer out(kRest + kOfGuest * stats.guests.size());
  append_all(out, "vmm_host_", host::host_fields(), All<HostStats>{{&stats, std::string()}},
             label("version", host::version()));
  All<PoolStats> pools;
  for (const auto& pool : stats.pools) pools.emplace_back(&pool, label("pool", pool.name));
  append_all(out, "vmm_pool_", host::pool_fields(), pools);
  All<NodeStats> nodes;
  for (const auto& node : stats.homes) nodes.emplace_back(&node, label("node", std::to_string(node.id)));
  append_all(out, "vmm_node_", host::node_fields(), nodes);
  All<GuestStats> guests;
  for (const auto& guest : stats.guests) guests.emplace_back(&guest, label("guest", guest.name));
  append_all(out, "vmm_guest_", host::guest_fields(), guests);
  return out.take();
}

}  // namespace vmm
