// The screen as a whole: host, view, and a line of keys or of what is typed.
#include <algorithm>

#include "top_views.h"

namespace vmmctl {
namespace {

std::string columns_text(const TopState& state, std::size_t width) {
  return " columns " + std::to_string(state.first_column + 1) + "-" + std::to_string(columns_end(state, width)) +
         " of " + std::to_string(columns().size());
}

Line last_line(const TopState& state, std::size_t width) {
  if (state.prompt != TopState::Prompt::none) {
    const bool filter = state.prompt == TopState::Prompt::filter;
    return Line()
        .add(filter ? "filter by name or pool: " : "seconds between two looks: ", Style::bold)
        .add(printable(state.typed, state.charset))
        .add(" ", Style::selected)
        .add("  Enter, or Esc", Style::dim);
  }
  if (!state.message.empty()) return Line(state.message, Style::warning);
  Line line;
  if (!state.filter.empty()) line.add("filter: " + printable(state.filter, state.charset), Style::warning);
  const auto key = [&](const char* keys, const char* what) {
    const std::size_t takes = width_of(keys) + width_of(what) + 2;
    if (line.width() + takes + 1 > width) return;
    line.add(line.spans.empty() ? "" : "  ").add(keys, Style::bold).add(what, Style::dim);
  };
  switch (state.view) {
    case View::hosts:
      key("Enter", " attach");
      key("up down", " choose");
      key("q", " quit");
      return line;
    case View::guests:
      key("q", " quit");
      key("h", " help");
      key("d", " detail");
      key("e", " events");
      key("<>", " sort");
      key("/", " filter");
      if (state.first_column > 0 || columns_end(state, width) < columns().size())
        key(state.charset == Charset::utf8 ? "← →" : "left right", columns_text(state, width).c_str());
      key("s", " interval");
      break;
    case View::detail:
      key("Esc", " all guests");
      key("up down", " other guest");
      key("e", " events");
      key("h", " help");
      key("q", " quit");
      break;
    case View::events:
      key("Esc", " guests");
      key("up down", " scroll");
      key("/", " filter");
      key("h", " help");
      key("q", " quit");
      break;
    case View::help:
      key("Esc", " back");
      key("up down", " scroll");
      key("q", " quit");
      break;
  }
  return line;
}

}  // namespace

Lines draw(const TopState& state, std::size_t width, std::size_t height) {
  Lines lines;
  if (width == 0 || height == 0) return lines;
  const std::size_t above_last = height - 1;
  if (state.view == View::hosts) {
    lines = choice_lines(state, {width, above_last});
  } else {
    lines = host_lines(state, {width, height});
    // What is long gets the room.
    if (state.view == View::help) lines.resize(1);
    if (state.view == View::detail && height < 36 && lines.size() > 2) lines.resize(2);
    if (lines.size() > above_last) lines.resize(above_last);
    const Area rest{width, above_last - lines.size()};
    Lines more;
    switch (state.view) {
      case View::guests: more = guest_lines(state, rest); break;
      case View::detail: more = detail_lines(state, rest); break;
      case View::events: more = event_lines(state, rest); break;
      case View::help: more = help_lines(state, rest); break;
      case View::hosts: break;
    }
    lines.insert(lines.end(), more.begin(), more.end());
  }
  lines.resize(above_last);
  lines.push_back(last_line(state, width));
  for (Line& line : lines) line = clipped(line, width, state.charset);
  return lines;
}

}  // namespace vmmctl
