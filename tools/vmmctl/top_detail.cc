// One guest: its figures, their history, and what happened to it.
#include <algorithm>

#include "top_views.h"

namespace vmmctl {
namespace {

struct Figure {
  const char* name;
  std::string value;
};

// The mean of those since the look before, and the distribution of all.
Line latency_line(const char* name, const Latency& latency, std::optional<std::uint64_t> now_ns, Charset charset) {
  Line line;
  line.add(fitted(name, 10, Align::left, charset), Style::dim);
  if (latency.count == 0) return line.add("none since it began");
  line.add("now ", Style::dim).add(fitted(now_ns ? duration_text(*now_ns) : "-", 8, Align::left, charset));
  line.add("since it began ", Style::dim).add(count_text(static_cast<double>(latency.count)) + ": ");
  line.add("p50 ", Style::dim).add(duration_text(latency.p50_ns) + " ");
  line.add("p99 ", Style::dim).add(duration_text(latency.p99_ns) + " ");
  return line.add("max ", Style::dim).add(duration_text(latency.max_ns));
}

// Of the guest of that name, in what is left of the area.
void add_events(Lines& lines, const TopState& state, const std::string& guest, Area area) {
  std::vector<const TimedEvent*> events;
  for (const TimedEvent& event : state.events)
    if (event.event.guest == guest) events.push_back(&event);
  if (lines.size() + 2 > area.height) return;
  lines.push_back(filled(Line("EVENTS of it: " + std::to_string(events.size()), Style::heading), area.width,
                         Style::heading, state.charset));
  const Lines shown = last_events(events, state, {area.width, area.height - lines.size()}, false);
  lines.insert(lines.end(), shown.begin(), shown.end());
}

// Figures beside each other, as many as fit.
void add_figures(Lines& lines, const std::vector<Figure>& figures, std::size_t width, Charset charset) {
  constexpr std::size_t kName = 12, kCell = 20;
  const std::size_t per_line = std::max<std::size_t>(1, width / kCell);
  for (std::size_t i = 0; i < figures.size(); i += per_line) {
    Line line;
    for (std::size_t j = i; j < std::min(i + per_line, figures.size()); ++j) {
      line.add(fitted(figures[j].name, kName, Align::left, charset), Style::dim);
      line.add(fitted(figures[j].value, kCell - kName - 1, Align::left, charset) + " ");
    }
    lines.push_back(line);
  }
}

double highest_of(const History& history) {
  double highest = 0;
  for (const auto* values : {&history.resident, &history.target, &history.active, &history.swapped})
    for (const double value : *values) highest = std::max(highest, value);
  return highest;
}

// One scale for all, so that they can be compared.
void add_graphs(Lines& lines, const History& history, std::size_t width, std::size_t height, Charset charset) {
  struct Curve {
    const char* name;
    const std::deque<double>& values;
    Style style;
  };
  const Curve curves[] = {{"resident", history.resident, Style::guests},
                          {"target", history.target, Style::notice},
                          {"active", history.active, Style::good},
                          {"swapped", history.swapped, Style::warning}};
  const double highest = highest_of(history);
  constexpr std::size_t kLabel = 16;
  const std::size_t room = width > kLabel + 1 ? width - kLabel - 1 : 0;
  for (const Curve& curve : curves) {
    const std::vector<double> values(curve.values.begin(), curve.values.end());
    const auto rows = graph(values, highest, room, height, charset);
    const auto last = static_cast<std::uint64_t>(values.empty() ? 0 : values.back());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Line line;
      const std::string label = i + 1 == rows.size() ? fitted(curve.name, 9, Align::left, charset) +
                                                           fitted(bytes_text(last), 6, Align::right, charset) + " "
                                                     : std::string(kLabel, ' ');
      line.add(label, Style::bold).add(charset == Charset::utf8 ? "│" : "|", Style::dim).add(rows[i], curve.style);
      lines.push_back(line);
    }
  }
}

}  // namespace

Lines detail_lines(const TopState& state, Area area) {
  Lines lines;
  const Charset charset = state.charset;
  const Row row = state.selected_guest();
  if (row.guest == nullptr) {
    lines.push_back(filled(Line("guest " + printable(state.selected, charset) + " has ended", Style::heading),
                           area.width, Style::heading, charset));
    add_events(lines, state, state.selected, area);
    return lines;
  }
  const Guest& guest = *row.guest;

  const auto history = state.history.find(guest.name);
  Line heading("GUEST " + printable(guest.name, charset) + "  pool " + printable(guest.pool, charset) + "  " +
                   (guest.managed ? "managed" : "native") + (guest.stopped ? "  STOPPED" : "") +
                   (guest.swap_failed ? "  SWAP FILE FAILS" : "") +
                   (guest.lost > 0 ? "  " + bytes_text(guest.lost) + " LOST" : "") +
                   (history != state.history.end()
                        ? "  graphs: 0 to " + bytes_text(static_cast<std::uint64_t>(highest_of(history->second)))
                        : ""),
               Style::heading);
  lines.push_back(filled(heading, area.width, Style::heading, charset));

  std::vector<Figure> figures{
      {"size", bytes_text(guest.memory)},
      {"reserved", bytes_text(guest.reservation)},
      {"limit", guest.limit > 0 ? bytes_text(guest.limit) : "none"},
      {"shares", count_text(static_cast<double>(guest.shares))},
      {"active +-", bytes_text(guest.active_error)},
      {"overhead", bytes_text(guest.overhead)},
      {"shared", bytes_text(guest.shared)},
      {"saved", bytes_text(guest.shared_saved)},
      {"ballooned", bytes_text(guest.ballooned)},
      {"to balloon", bytes_text(guest.balloon_target)},
      {"pinned", bytes_text(guest.pinned)},
      {"home node", guest.home_node < 0 ? "-" : std::to_string(guest.home_node)},
      {"local", percent_text(guest.local, guest.local + guest.remote)},
      {"migrations", std::to_string(guest.migrations)},
      {"stops", std::to_string(guest.stops)},
      {"stopped for", duration_text(guest.stopped_ns)},
  };
  if (row.rates) {
    figures.push_back({"faults/s", count_text(row.rates->faults)});
    figures.push_back({"fills/s", count_text(row.rates->fills)});
    figures.push_back({"rescues/s", count_text(row.rates->rescues)});
    figures.push_back({"swap-ins/s", count_text(row.rates->swap_ins)});
    figures.push_back({"read/s", rate_text(row.rates->swapped_in)});
    figures.push_back({"written/s", rate_text(row.rates->swapped_out)});
  }
  add_figures(lines, figures, area.width, charset);
  const GuestRates rates = row.rates.value_or(GuestRates());
  lines.push_back(latency_line("faults", guest.fault_latency, rates.fault_mean_ns, charset));
  if (guest.swap_in_latency.count > 0)
    lines.push_back(latency_line("swap-ins", guest.swap_in_latency, rates.swap_in_mean_ns, charset));

  const std::size_t left = area.height > lines.size() ? area.height - lines.size() : 0;
  // Two thirds are for the graphs, the rest for events; a heading line before those.
  const std::size_t graph_height = std::clamp<std::size_t>(left * 2 / 3 / 4, 1, 5);
  if (history != state.history.end() && left >= 4)
    add_graphs(lines, history->second, area.width, graph_height, charset);

  add_events(lines, state, guest.name, area);
  return lines;
}

}  // namespace vmmctl
