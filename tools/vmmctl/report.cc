#include "report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "json_text.h"
#include "report_assets.h"
#include "text.h"

namespace vmmctl {
namespace {

using nlohmann::json;

// Longer lines are no samples; a file without line ends is not read into memory.
constexpr std::size_t kLineBytes = std::size_t{64} << 20;
constexpr std::size_t kMostWarnings = 20;

// A line without its end; false at the end of the file. `too_long`: it was, and was passed over.
bool next_line(std::istream& stream, std::string& line, bool& too_long) {
  line.clear();
  too_long = false;
  std::streambuf* buffer = stream.rdbuf();
  bool any = false;
  for (;;) {
    const int c = buffer->sbumpc();
    if (c == std::char_traits<char>::eof()) return any;
    any = true;
    if (c == '\n') return true;
    if (line.size() < kLineBytes)
      line += static_cast<char>(c);
    else
      too_long = true;
  }
}

json rounded(double value) { return json(static_cast<std::int64_t>(std::llround(value))); }

struct NamedGauge {
  const char* name;
  Gauge gauge;
};
constexpr NamedGauge kGauges[] = {
    {"budget", Gauge::budget},
    {"min_free", Gauge::min_free},
    {"resident", Gauge::resident},
    {"copies", Gauge::copies},
    {"other", Gauge::other},
    {"free", Gauge::free},
    {"withheld", Gauge::withheld},
    {"shared", Gauge::shared},
    {"swapped", Gauge::swapped},
    {"ballooned", Gauge::ballooned},
    {"untouched", Gauge::untouched},
    {"balloon_target", Gauge::balloon_target},
    {"balloon_max", Gauge::balloon_max},
    {"saved", Gauge::saved},
    {"local", Gauge::local},
    {"remote", Gauge::remote},
};

struct NamedFlow {
  const char* name;
  Flow flow;
};
constexpr NamedFlow kFlows[] = {
    {"fills", Flow::fills},   {"rescues", Flow::rescues}, {"swap_ins", Flow::swap_ins}, {"pops", Flow::pops},
    {"stalls", Flow::stalls}, {"read", Flow::read},       {"written", Flow::written},   {"migrated", Flow::migrated},
};

struct NamedGuestGauge {
  const char* name;
  GuestGauge gauge;
};
constexpr NamedGuestGauge kGuestGauges[] = {
    {"resident", GuestGauge::resident},
    {"target", GuestGauge::target},
    {"active", GuestGauge::active},
    {"swapped", GuestGauge::swapped},
};

json host_json(const HostSummary& host) {
  json states = json::object();
  for (std::size_t i = 0; i < state_names().size(); ++i)
    if (host.state_samples[i] > 0) states[state_names()[i]] = host.state_samples[i];
  return {{"pid", host.pid},
          {"version", host.version},
          {"level", host.level},
          {"first_ms", host.first_ms},
          {"last_ms", host.last_ms},
          {"samples", host.samples},
          {"nodes", host.nodes},
          {"memory", host.memory},
          {"consumed_max", host.consumed_max},
          {"free_min", host.free_min},
          {"withheld_max", host.withheld_max},
          {"swapped_max", host.swapped_max},
          {"ballooned_max", host.ballooned_max},
          {"saved_max", host.saved_max},
          {"overcommit_max", host.overcommit_max},
          {"states", states}};
}

json series_json(const RecordData& data) {
  json series = json::object();
  json times = json::array(), states = json::array();
  for (const Point& point : data.points()) {
    times.push_back(point.time_ms);
    states.push_back(state_names()[point.state]);
  }
  series["time"] = std::move(times);
  series["state"] = std::move(states);
  for (const auto& [name, gauge] : kGauges) {
    json values = json::array();
    for (const Point& point : data.points())
      values.push_back(rounded(point.gauges[gauge] / static_cast<double>(point.samples)));
    series[name] = std::move(values);
  }
  for (const auto& [name, flow] : kFlows) {
    // A second; nothing where no time has passed.
    json values = json::array();
    for (const Point& point : data.points()) {
      if (point.seconds > 0)
        values.push_back(std::round(point.flows[flow] / point.seconds * 100) / 100);
      else
        values.push_back(nullptr);
    }
    series[name] = std::move(values);
  }
  return series;
}

// From the guest's first point to its last; nothing where it was not there.
json guest_series_json(const GuestSummary& guest) {
  json series = {{"first", guest.first_point}};
  for (const auto& [name, gauge] : kGuestGauges) {
    json values = json::array();
    for (const GuestPoint& point : guest.points) {
      if (point.samples > 0)
        values.push_back(rounded(point.gauges[gauge] / static_cast<double>(point.samples)));
      else
        values.push_back(nullptr);
    }
    series[name] = std::move(values);
  }
  return series;
}

json guest_json(const GuestSummary& guest) {
  const Guest& last = guest.last;
  return {{"name", last.name},
          {"pool", last.pool},
          {"memory", last.memory},
          {"reservation", last.reservation},
          {"limit", last.limit},
          {"samples", guest.samples},
          {"resident_min", guest.resident_min},
          {"resident_mean", rounded(guest.resident_sum / static_cast<double>(guest.samples))},
          {"resident_max", guest.resident_max},
          {"resident", last.resident},
          {"target", last.target},
          {"active", last.active},
          {"swapped", last.swapped},
          {"swapped_max", guest.swapped_max},
          {"ballooned_max", guest.ballooned_max},
          {"saved_max", guest.saved_max},
          {"faults", guest.growth.faults},
          {"swapped_in", guest.growth.swapped_in},
          {"swapped_out", guest.growth.swapped_out},
          {"home_node", last.home_node},
          {"migrations", guest.growth.migrations},
          {"stops", guest.growth.stops}};
}

json others_json(const OtherGuests& others) {
  return {{"guests", others.guests},
          {"faults", others.growth.faults},
          {"swapped_in", others.growth.swapped_in},
          {"swapped_out", others.growth.swapped_out},
          {"migrations", others.growth.migrations},
          {"stops", others.growth.stops}};
}

struct GuestTables {
  json guests = json::array();
  OtherGuests others;  // that are not among them
};

// The guests of the table, of which some have a series for a chart.
GuestTables guest_tables(const RecordedGuests& recorded) {
  GuestTables tables;
  tables.others = recorded.others();
  const auto listed = recorded.listed();
  const auto charted = recorded.charted();
  for (std::size_t i = 0; i < recorded.held().size(); ++i) {
    const GuestSummary& guest = recorded.held()[i];
    if (!std::binary_search(listed.begin(), listed.end(), i)) {
      tables.others.add(guest);
      continue;
    }
    tables.guests.push_back(guest_json(guest));
    if (std::binary_search(charted.begin(), charted.end(), i))
      tables.guests.back()["series"] = guest_series_json(guest);
  }
  return tables;
}

}  // namespace

Result<RecordData> read_record(std::istream& stream, std::vector<std::string>& warnings) {
  RecordData data;
  std::string line;
  bool too_long = false;
  std::uint64_t number = 0, bad = 0;
  while (next_line(stream, line, too_long)) {
    ++number;
    if (line.empty() && !too_long) continue;
    const Result<void> added =
        too_long ? fail(FailureKind::garbage, "longer than " + bytes_text(kLineBytes)) : data.add_line(line);
    if (added) continue;
    if (++bad > kMostWarnings) continue;
    warnings.push_back("line " + std::to_string(number) + " is skipped: " + added.error().what);
  }
  if (bad > kMostWarnings) warnings.push_back("and " + std::to_string(bad - kMostWarnings) + " lines more are skipped");
  if (data.host().samples == 0)
    return fail(FailureKind::garbage, "no line of it is a sample of a host",
                "vmmctl record makes such files: one JSON object a line, with \"stats\" and \"events\"");
  if (data.notes_dropped() > 0)
    data.add_note("and " + std::to_string(data.notes_dropped()) + " notes more of that kind");
  for (const std::string& warning : warnings) data.add_note(warning);
  if (data.end().empty()) data.add_note("The record was cut off: it has no last line that says why it ends.");
  if (data.events_dropped() > 0)
    data.add_note("Only the last " + std::to_string(kMostEvents) + " events are shown; " +
                  std::to_string(data.events_dropped()) + " before them are not.");
  return data;
}

json report_json(const RecordData& data) {
  GuestTables guests = guest_tables(data.guests());
  json events = json::array();
  for (const TimedEvent& timed : data.events())
    events.push_back({{"time", timed.wall_time_ms},
                      {"kind", timed.event.kind},
                      {"guest", timed.event.guest},
                      {"bytes", timed.event.bytes},
                      {"mechanism", timed.event.mechanism},
                      {"reason", timed.event.reason}});
  return {{"host", host_json(data.host())},         {"series", series_json(data)},
          {"per_point", data.samples_per_point()}, {"guests", std::move(guests.guests)},
          {"others", others_json(guests.others)},  {"events", std::move(events)},
          {"end", data.end()},                     {"notes", data.notes()}};
}

std::string json_for_html(const json& document) {
  const std::string text = json_text(document);
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '<': safe += "\\u003c"; break;
      case '>': safe += "\\u003e"; break;
      case '&': safe += "\\u0026"; break;
      default: safe += c;
    }
  }
  return safe;
}

std::string report_page(const RecordData& data) {
  std::string page(assets::kPageHtml);
  const auto put = [&](std::string_view mark, const std::string& text) {
    const auto at = page.find(mark);
    if (at != std::string::npos) page.replace(at, mark.size(), text);
  };
  // The data last: no mark is looked for in it.
  put("/*STYLE*/", std::string(assets::kPageCss));
  put("/*CHARTS*/", std::string(assets::kChartsJs));
  put("/*PAGE*/", std::string(assets::kPageJs));
  put("/*DATA*/", json_for_html(report_json(data)));
  return page;
}

}  // namespace vmmctl
