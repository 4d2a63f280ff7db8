#include "top_model.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace vmmctl {
namespace {

constexpr std::size_t kHistory = 600;
constexpr std::size_t kEvents = 5000;
constexpr std::ptrdiff_t kPage = 10;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool contains(std::string_view text, std::string_view part) {
  const auto at = std::search(text.begin(), text.end(), part.begin(), part.end(),
                              [](char a, char b) { return lower(a) == lower(b); });
  return part.empty() || at != text.end();
}

void keep(std::deque<double>& values, std::uint64_t value) {
  values.push_back(static_cast<double>(value));
  if (values.size() > kHistory) values.pop_front();
}

std::size_t moved(std::size_t from, std::ptrdiff_t by, std::size_t last) {
  if (by < 0) return from - std::min(from, static_cast<std::size_t>(-by));
  return std::min(last, from + std::min(static_cast<std::size_t>(by), last));
}

}  // namespace

std::vector<Row> TopState::rows() const {
  std::vector<Row> found;
  if (!now) return found;
  for (const Guest& guest : now->guests) {
    if (!contains(guest.name, filter) && !contains(guest.pool, filter)) continue;
    const auto at = rates.find(guest.name);
    found.push_back({&guest, at != rates.end() ? std::optional(at->second) : std::nullopt});
  }
  std::stable_sort(found.begin(), found.end(), [&](const Row& a, const Row& b) {
    if (sort_column > 0) {
      const Column& column = columns()[sort_column - 1];
      const auto x = column.value(a);
      const auto y = column.value(b);
      // What is not known comes last either way.
      if (x.has_value() != y.has_value()) return x.has_value();
      if (x && y && *x != *y) return descending ? *x > *y : *x < *y;
      return a.guest->name < b.guest->name;
    }
    return descending ? a.guest->name > b.guest->name : a.guest->name < b.guest->name;
  });
  return found;
}

std::size_t TopState::selected_row(const std::vector<Row>& rows) const {
  const auto at = std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.guest->name == selected; });
  return at != rows.end() ? static_cast<std::size_t>(at - rows.begin()) : 0;
}

std::vector<const TimedEvent*> TopState::matching_events() const {
  std::vector<const TimedEvent*> found;
  for (const TimedEvent& event : events)
    if (contains(event.event.guest, filter) || contains(event.event.kind, filter) ||
        contains(event.event.reason, filter))
      found.push_back(&event);
  return found;
}

void TopModel::forget() {
  state_.now.reset();
  state_.rates.clear();
  state_.history.clear();
  state_.events.clear();
  state_.events_lost = 0;
}

void TopModel::apply(const Sample& sample) {
  auto snapshot = parse_snapshot(sample.stats);
  if (!snapshot) return lost(snapshot.error());
  if (sample.restarted) forget();
  state_.trouble.reset();
  if (state_.now) state_.rates = rates_between(*state_.now, *snapshot);
  std::map<std::string, History> history;
  for (const Guest& guest : snapshot->guests) {
    History& of = history[guest.name];
    const auto before = state_.history.find(guest.name);
    if (before != state_.history.end()) of = std::move(before->second);
    keep(of.resident, guest.resident);
    keep(of.target, guest.target);
    keep(of.active, guest.active);
    keep(of.swapped, guest.swapped);
  }
  state_.history = std::move(history);
  for (const auto& document : sample.events) {
    if (!document.is_object()) continue;
    TimedEvent timed{parse_event(document), snapshot->wall_time_ms};
    const auto ago = static_cast<std::int64_t>(snapshot->time_ns - timed.event.time_ns);
    timed.wall_time_ms -= ago / 1'000'000;
    state_.events.push_back(std::move(timed));
    if (state_.events.size() > kEvents) state_.events.pop_front();
  }
  state_.events_lost += sample.lost;
  state_.now = std::move(*snapshot);
}

void TopModel::sort_by(std::size_t column) {
  if (state_.sort_column == column) {
    state_.descending = !state_.descending;
  } else {
    state_.sort_column = column;
    state_.descending = column != 0;
  }
}

void TopModel::move(std::ptrdiff_t lines) {
  switch (state_.view) {
    case View::guests:
    case View::detail: {
      const auto rows = state_.rows();
      if (rows.empty()) return;
      const std::size_t row = moved(state_.selected_row(rows), lines, rows.size() - 1);
      state_.selected = rows[row].guest->name;
      return;
    }
    case View::events: state_.back_lines = moved(state_.back_lines, -lines, state_.events.size()); return;
    case View::help: state_.back_lines = moved(state_.back_lines, lines, columns().size() + 30); return;
    case View::hosts: return;
  }
}

Action TopModel::typed(const Key& key) {
  if (key.kind == Key::Kind::backspace) {
    // A whole code point.
    while (!state_.typed.empty() && (static_cast<unsigned char>(state_.typed.back()) & 0xC0) == 0x80)
      state_.typed.pop_back();
    if (!state_.typed.empty()) state_.typed.pop_back();
  } else if (key.kind == Key::Kind::escape) {
    state_.prompt = TopState::Prompt::none;
  } else if (key.kind == Key::Kind::enter) {
    const auto prompt = state_.prompt;
    state_.prompt = TopState::Prompt::none;
    if (prompt == TopState::Prompt::filter) {
      state_.filter = state_.typed;
      state_.back_lines = 0;
    } else {
      char* end = nullptr;
      const double seconds = std::strtod(state_.typed.c_str(), &end);
      if (state_.typed.empty() || *end != '\0' || !(seconds >= 0.1 && seconds <= 3600)) {
        state_.message = "interval '" + printable(state_.typed, state_.charset) + "': 0.1 to 3600 seconds";
      } else {
        state_.interval = std::chrono::milliseconds(std::llround(seconds * 1000));
        return Action::interval;
      }
    }
  } else if (key.kind == Key::Kind::character && key.character >= 0x20 && key.character != 0x7F &&
             state_.typed.size() < 60) {
    append_utf8(state_.typed, key.character);
  }
  return Action::none;
}

Action TopModel::hosts_key(const Key& key) {
  if (key.kind == Key::Kind::up) state_.host -= state_.host > 0 ? 1 : 0;
  if (key.kind == Key::Kind::down && state_.host + 1 < state_.hosts.size()) ++state_.host;
  if (key.kind == Key::Kind::character && key.character == 'q') return Action::quit;
  if (key.kind == Key::Kind::enter && state_.host < state_.hosts.size()) {
    state_.socket = state_.hosts[state_.host].socket;
    state_.view = View::guests;
    return Action::attach;
  }
  return Action::none;
}

Action TopModel::character(char32_t c) {
  const auto show = [&](View view) {
    if (view == View::help) state_.back = state_.view;
    state_.view = state_.view == view ? (view == View::help ? state_.back : View::guests) : view;
    state_.back_lines = 0;
  };
  switch (c) {
    case 'q': return Action::quit;
    case ' ': return Action::ask_now;
    case 'h':
    case '?': show(View::help); return Action::none;
    case 'e': show(View::events); return Action::none;
    case 'd':
      if (!state_.rows().empty()) show(View::detail);
      return Action::none;
    case 's':
      state_.prompt = TopState::Prompt::interval;
      state_.typed.clear();
      return Action::none;
    case '/':
    case 'f':
      state_.prompt = TopState::Prompt::filter;
      state_.typed = state_.filter;
      return Action::none;
    case 'r': state_.descending = !state_.descending; return Action::none;
    case '<':
    case '>': {
      const std::size_t count = columns().size() + 1;
      state_.sort_column = (state_.sort_column + (c == '>' ? 1 : count - 1)) % count;
      state_.descending = state_.sort_column != 0;
      return Action::none;
    }
    case 'N': sort_by(0); return Action::none;
    default: break;
  }
  for (std::size_t i = 0; i < columns().size(); ++i)
    if (columns()[i].key != ' ' && static_cast<char32_t>(columns()[i].key) == c) sort_by(i + 1);
  return Action::none;
}

Action TopModel::key(const Key& key) {
  constexpr std::ptrdiff_t kAll = std::numeric_limits<std::ptrdiff_t>::max() / 2;
  if (key.kind == Key::Kind::resize) return Action::none;
  state_.message.clear();
  if (state_.prompt != TopState::Prompt::none) return typed(key);
  if (state_.view == View::hosts) return hosts_key(key);
  switch (key.kind) {
    case Key::Kind::character: return character(key.character);
    case Key::Kind::up: move(-1); break;
    case Key::Kind::down: move(1); break;
    case Key::Kind::page_up: move(-kPage); break;
    case Key::Kind::page_down: move(kPage); break;
    case Key::Kind::home: move(-kAll); break;
    case Key::Kind::end: move(kAll); break;
    case Key::Kind::left:
      if (state_.first_column > 0) --state_.first_column;
      break;
    case Key::Kind::right:
      if (state_.first_column + 1 < columns().size()) ++state_.first_column;
      break;
    case Key::Kind::enter:
      if (state_.view == View::guests) return character('d');
      break;
    case Key::Kind::escape:
      if (state_.view == View::help) {
        state_.view = state_.back;
      } else if (state_.view != View::guests) {
        state_.view = View::guests;
      } else {
        state_.filter.clear();
      }
      break;
    case Key::Kind::backspace:
    case Key::Kind::resize: break;
  }
  return Action::none;
}

}  // namespace vmmctl
