#include "top_views.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <sstream>

namespace vmmctl {
namespace {

std::string two_places(double value) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.2f", value);
  return buffer.data();
}

std::string seconds_text(std::chrono::milliseconds interval) {
  const double seconds = static_cast<double>(interval.count()) / 1000;
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%g s", seconds);
  return buffer.data();
}

Line title_line(const TopState& state, std::size_t width) {
  Line line;
  if (state.trouble) {
    line.add(" NOT CONNECTED ", Style::alarm);
    line.add(" " + printable(*state.trouble, state.charset) + "; trying again ", Style::title);
    return filled(line, width, Style::title, state.charset);
  }
  line.add(" vmmctl top", Style::title);
  if (!state.now) {
    line.add("  " + printable(state.socket, state.charset) + ": waiting for the first answer", Style::title);
    return filled(line, width, Style::title, state.charset);
  }
  const Snapshot& now = *state.now;
  line.add("  process " + std::to_string(now.pid) + "  level " + printable(now.capability_level, state.charset) + "  " +
               clock_text(now.wall_time_ms) + "  every " + seconds_text(state.interval),
           Style::title);
  const std::string socket = "  " + printable(state.socket, state.charset) + " ";
  if (line.width() + width_of(socket) <= width) line.add(socket, Style::title);
  return filled(line, width, Style::title, state.charset);
}

Line budget_line(const Snapshot& now, const TopState& state) {
  Line line;
  line.add("MEM   ", Style::bold);
  line.add("state ").add(" " + printable(now.state, state.charset) + " ", state_style(now.state));
  line.add("  budget " + bytes_text(now.memory) + "  consumed " + bytes_text(now.consumed) + "  free " +
           bytes_text(now.free) + " (" + percent_text(now.free, now.memory) + ", min " + bytes_text(now.min_free) +
           ")");
  return line;
}

Line bar_line(const Snapshot& now, std::size_t width, Charset charset) {
  const double resident = static_cast<double>(now.sum(&Guest::resident));
  const auto copies = static_cast<double>(now.share_frames);
  const double rest = std::max(0.0, static_cast<double>(now.consumed) - resident - copies);
  const bool utf8 = charset == Charset::utf8;
  Line legend;
  legend.add(utf8 ? " █" : " #", Style::guests).add(" guests ");
  legend.add(utf8 ? "▓" : "=", Style::copies).add(" copies ");
  legend.add(utf8 ? "▒" : "o", Style::overhead).add(" other ");
  legend.add(utf8 ? "░" : ".", Style::unused).add(" free");
  if (now.withheld > 0)
    legend.add(utf8 ? " ×" : " x", Style::withheld).add(" withheld " + bytes_text(now.withheld));
  Line line;
  line.add("      [");
  const std::size_t around = line.width() + 1 + legend.width();
  const std::size_t room = width > around + 10 ? width - around : 10;
  const Line bars = bar({{resident, Style::guests},
                         {copies, Style::copies},
                         {rest, Style::overhead},
                         {static_cast<double>(now.free), Style::unused},
                         {static_cast<double>(now.withheld_unused()), Style::withheld}},
                        room, charset);
  for (const Span& span : bars.spans) line.spans.push_back(span);
  line.add("]");
  for (const Span& span : legend.spans) line.spans.push_back(span);
  return line;
}

Line guests_line(const Snapshot& now, std::size_t width) {
  const std::uint64_t size = now.sum(&Guest::memory);
  Line line;
  line.add("GUESTS ", Style::bold);
  line.add(std::to_string(now.guests.size()) + " of " + bytes_text(size) + "  overcommit " +
           (now.memory > 0 ? two_places(static_cast<double>(size) / static_cast<double>(now.memory)) : "-") +
           "  saved " + bytes_text(now.shared_saved) + "  ballooned " + bytes_text(now.ballooned) + "  swapped " +
           bytes_text(now.swapped));
  const auto stopped = std::count_if(now.guests.begin(), now.guests.end(), [](const Guest& g) { return g.stopped; });
  if (stopped > 0) line.add("  ").add(std::to_string(stopped) + " stopped", Style::alarm);
  const std::string reserved = "  reserved " + bytes_text(now.reserved);
  if (line.width() + reserved.size() <= width) line.add(reserved);
  return line;
}

Line node_line(const Node& node) {
  Line line;
  line.add("NODE " + std::to_string(node.id) + " ", Style::bold);
  line.add(std::to_string(node.processors) + " cpus  load " + two_places(node.load) + "  guests " +
           std::to_string(node.guests) + "  memory " + bytes_text(node.memory) + "  free " + bytes_text(node.free) +
           "  promised " + bytes_text(node.promised));
  return line;
}

Style row_style(const Guest& guest) {
  if (guest.stopped || guest.lost > 0 || guest.swap_failed) return Style::bad;
  if (guest.balloon_distrusted ||
      (guest.target > 0 && guest.resident + guest.overhead > guest.target + guest.target / 50))
    return Style::warning;
  return Style::plain;
}

// The name, and behind it what is wrong with the guest.
std::string name_text(const Guest& guest, std::size_t width, Charset charset) {
  const char* mark = guest.stopped ? " STOP" : guest.lost > 0 ? " LOST" : guest.swap_failed ? " SWERR" : "";
  const std::size_t takes = width_of(mark);
  if (takes == 0 || takes >= width) return fitted(printable(guest.name, charset), width, Align::left, charset);
  return fitted(printable(guest.name, charset), width - takes, Align::left, charset) + mark;
}

// Of `count` rows, of which `room` are seen: the first that is, so that the selected one is in the middle where it can.
std::size_t first_shown(std::size_t selected, std::size_t count, std::size_t room) {
  if (count <= room) return 0;
  return std::min(selected > room / 2 ? selected - room / 2 : 0, count - room);
}

std::size_t name_width(std::size_t width) { return std::clamp<std::size_t>(width / 6, 12, 30); }

}  // namespace

Lines host_lines(const TopState& state, Area area) {
  Lines lines{title_line(state, area.width)};
  if (!state.now) return lines;
  const Snapshot& now = *state.now;
  lines.push_back(budget_line(now, state));
  lines.push_back(bar_line(now, area.width, state.charset));
  lines.push_back(guests_line(now, area.width));
  // Many nodes leave half of the screen to guests.
  const std::size_t room = area.height / 2 > lines.size() + 1 ? area.height / 2 - lines.size() : 1;
  const std::size_t shown = now.homes.size() <= room ? now.homes.size() : room - 1;
  for (std::size_t i = 0; i < shown; ++i) lines.push_back(node_line(now.homes[i]));
  if (shown < now.homes.size())
    lines.emplace_back("     and " + std::to_string(now.homes.size() - shown) + " nodes more", Style::dim);
  return lines;
}

std::size_t columns_end(const TopState& state, std::size_t width) {
  const auto all = columns();
  std::size_t end = state.first_column;
  std::size_t used = name_width(width);
  while (end < all.size() && used + 1 + all[end].width <= width) used += 1 + all[end++].width;
  return end;
}

namespace {

// The column that sorts is seen wherever it is: if it is not among those, it is the first.
std::vector<std::size_t> shown_columns(const TopState& state, std::size_t width) {
  const auto all = columns();
  std::vector<std::size_t> shown;
  std::size_t used = name_width(width);
  const auto add = [&](std::size_t i) {
    if (used + 1 + all[i].width > width) return false;
    used += 1 + all[i].width;
    shown.push_back(i);
    return true;
  };
  const std::size_t end = columns_end(state, width);
  if (state.sort_column > 0 && (state.sort_column - 1 < state.first_column || state.sort_column - 1 >= end))
    add(state.sort_column - 1);
  for (std::size_t i = state.first_column; i < end && add(i); ++i) {
  }
  return shown;
}

}  // namespace

Lines guest_lines(const TopState& state, Area area) {
  Lines lines;
  if (area.height == 0) return lines;
  const auto all = columns();
  const std::size_t name = name_width(area.width);
  const auto shown = shown_columns(state, area.width);
  Line heading;
  heading.add(fitted("NAME", name, Align::left, state.charset),
              state.sort_column == 0 ? Style::sorted : Style::heading);
  for (const std::size_t i : shown) {
    heading.add(" ", Style::heading);
    heading.add(fitted(all[i].title, all[i].width, Align::right, state.charset),
                state.sort_column == i + 1 ? Style::sorted : Style::heading);
  }
  lines.push_back(filled(heading, area.width, Style::heading, state.charset));

  const auto rows = state.rows();
  const std::size_t room = area.height - 1;
  const std::size_t selected = state.selected_row(rows);
  for (std::size_t i = first_shown(selected, rows.size(), room); i < rows.size() && lines.size() < area.height; ++i) {
    const Guest& guest = *rows[i].guest;
    const Style style = i == selected ? Style::selected : row_style(guest);
    Line line;
    line.add(name_text(guest, name, state.charset), style);
    for (const std::size_t column : shown)
      line.add(" " + fitted(cell_text(all[column], rows[i]), all[column].width, Align::right, state.charset), style);
    lines.push_back(filled(line, area.width, style, state.charset));
  }
  if (rows.empty() && state.now)
    lines.emplace_back(state.filter.empty()
                           ? "no guests"
                           : "no guest matches '" + printable(state.filter, state.charset) + "'; Esc shows all",
                       Style::dim);
  return lines;
}

Lines event_text(const TimedEvent& event, const TopState& state, std::size_t width, bool with_guest) {
  const Event& what = event.event;
  const bool bad = what.kind.ends_with("_failed") || what.kind == "memory_exhausted" || what.kind == "guest_stopped" ||
                   what.kind == "fault_stalled" || what.kind == "not_reclaimable";
  const bool odd = what.kind.ends_with("_advice") || what.kind == "balloon_distrusted" ||
                   what.kind == "budget_withheld" || what.kind == "stop_ended" || what.kind == "not_weighed";
  Line line;
  line.add(clock_text(event.wall_time_ms) + " ", Style::dim);
  line.add(fitted(printable(what.kind, state.charset), 18, Align::left, state.charset) + " ", bad   ? Style::bad
                                                                                              : odd ? Style::warning
                                                                                                    : Style::bold);
  if (with_guest)
    line.add(
        fitted(what.guest.empty() ? "(host)" : printable(what.guest, state.charset), 12, Align::left, state.charset) +
        " ");
  line.add(fitted(what.bytes > 0 ? bytes_text(what.bytes) : "", 5, Align::right, state.charset) + " ");
  // The reason begins beside that, and goes on below it.
  constexpr std::size_t kIndent = 11;
  const std::size_t left = line.width();
  std::string why = printable(what.mechanism, state.charset);
  if (!why.empty() && !what.reason.empty()) why += ": ";
  why += printable(what.reason, state.charset);
  const auto both_blank = [](char a, char b) { return a == ' ' && b == ' '; };
  why.erase(std::unique(why.begin(), why.end(), both_blank), why.end());
  std::string first = wrapped(why, "", width > left + 12 ? width - left : 12);
  first.resize(std::min(first.find('\n'), first.size()));
  Lines lines{line.add(first)};
  std::istringstream rest(wrapped(why.substr(std::min(first.size(), why.size())), std::string(kIndent, ' '),
                                  std::max<std::size_t>(width, kIndent + 12)));
  for (std::string piece; std::getline(rest, piece);) lines.emplace_back(piece);
  return lines;
}

Lines last_events(const std::vector<const TimedEvent*>& events, const TopState& state, Area area, bool with_guest) {
  Lines lines;
  for (std::size_t i = events.size(); i > 0 && lines.size() < area.height; --i) {
    const Lines more = event_text(*events[i - 1], state, area.width, with_guest);
    lines.insert(lines.begin(), more.begin(), more.end());
  }
  if (lines.size() > area.height) lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(area.height));
  return lines;
}

Lines event_lines(const TopState& state, Area area) {
  Lines lines;
  auto events = state.matching_events();
  Line heading(
      "EVENTS  " + std::to_string(events.size()) +
          (state.filter.empty() ? "" : " that match '" + printable(state.filter, state.charset) + "'") +
          (state.events_lost > 0 ? ", " + std::to_string(state.events_lost) + " were overwritten before they were read"
                                 : ""),
      Style::heading);
  lines.push_back(filled(heading, area.width, Style::heading, state.charset));
  events.resize(events.size() - std::min(state.back_lines, events.empty() ? 0 : events.size() - 1));
  const Lines shown = last_events(events, state, {area.width, area.height > 1 ? area.height - 1 : 0}, true);
  lines.insert(lines.end(), shown.begin(), shown.end());
  return lines;
}

Lines help_lines(const TopState& state, Area area) {
  Lines all;
  const auto key = [&](const char* keys, const char* what) {
    all.push_back(Line().add(std::string("  ") + keys, Style::bold).add(what));
  };
  all.emplace_back("KEYS", Style::bold);
  key("q         ", "quit");
  key("h ?       ", "this help; Esc: back");
  key("up down   ", "select a guest; PgUp, PgDn, Home, End");
  key("left right", " show other columns");
  key("Enter d   ", "the selected guest: figures, history, events");
  key("e         ", "events of the host");
  key("< >       ", "sort by the column before, after; r: the other way round");
  key("/ f       ", "filter by name or pool, events by text; Esc: no filter");
  key("s         ", "seconds between two looks; Space: look now");
  all.emplace_back();
  all.emplace_back("COLUMNS, and the key that sorts by them. Bytes; K, M, G are powers of 1024.", Style::bold);
  all.push_back(Line()
                    .add("  N ", Style::bold)
                    .add("NAME     name of the guest; STOP: stopped in state low; LOST: pages "
                         "are lost; SWERR: its swap file fails"));
  for (const Column& column : columns())
    all.push_back(Line()
                      .add(std::string("  ") + column.key + " ", Style::bold)
                      .add(fitted(column.title, 9, Align::left, state.charset) + column.meaning));
  all.emplace_back();
  all.emplace_back("STATES, by free memory", Style::bold);
  constexpr std::array<std::pair<const char*, const char*>, 5> kStates{{
      {"high", "nothing is reclaimed but what guests hold above their limits"},
      {"clear", "sharing is tried before more is taken"},
      {"soft", "balloons; guests without one are swapped"},
      {"hard", "guests are swapped"},
      {"low", "and those above their targets stop at their next fault"},
  }};
  for (const auto& state_and_text : kStates)
    all.push_back(
        Line()
            .add("  ")
            .add(fitted(state_and_text.first, 6, Align::left, state.charset), state_style(state_and_text.first))
            .add(state_and_text.second));
  const std::size_t first = std::min(state.back_lines, all.size() - std::min(area.height, all.size()));
  Lines lines(all.begin() + static_cast<std::ptrdiff_t>(first), all.end());
  if (lines.size() > area.height) {
    lines.resize(area.height);
    if (!lines.empty()) lines.back() = Line("  more below: down, PgDn", Style::dim);
  }
  return lines;
}

Lines choice_lines(const TopState& state, Area area) {
  Lines lines{filled(Line(" vmmctl top  which host?", Style::title), area.width, Style::title, state.charset), Line()};
  const std::size_t room = area.height - std::min(area.height, lines.size());
  for (auto i = first_shown(state.host, state.hosts.size(), room); i < state.hosts.size(); ++i)
    lines.emplace_back("  " + describe(state.hosts[i]), i == state.host ? Style::selected : Style::plain);
  return lines;
}

}  // namespace vmmctl
