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

Row row_of(const Guest& guest, const std::map<std::string, GuestRates>& rates) {
  const auto at = rates.find(guest.name);
  return {&guest, at != rates.end() ? std::optional(at->second) : std::nullopt};
}

}  // namespace

std::vector<Row> TopState::rows() const {
  std::vector<Row> found;
  if (!now) return found;
  for (const Guest& guest : now->guests) {
    if (!contains(guest.name, filter) && !contains(guest.pool, filter)) continue;
    found.push_back(row_of(guest, rates));
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

Row TopState::selected_guest() const {
  const Guest* guest = now && !selected_ended ? now->find(selected) : nullptr;
  return guest != nullptr ? row_of(*guest, rates) : Row();
}

std::vector<const TimedEvent*> TopState::matching_events() const {
  std::vector<const TimedEvent*> found;
  for (const TimedEvent& event : events)
    if (contains(event.event.guest, filter) || contains(event.event.kind, filter) ||
        contains(event.event.reason, filter))
      found.push_back(&event);
  return found;
}

// Another host may have a guest of the selected one's name; it is not the one that was selected.
void TopModel::forget() {
  state_.now.reset();
  state_.selected_ended = true;
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
  if (const Guest* watched = state_.selected_guest().guest; watched != nullptr) {
    const Guest* same = snapshot->find(watched->name);
    state_.selected_ended = same == nullptr || !same_guest(*watched, *same);
  }
  const Snapshot none;
  const EarlierGuests earlier(state_.now ? *state_.now : none);
  std::map<std::string, History> history;
  for (const Guest& guest : snapshot->guests) {
    History& of = history[guest.name];
    if (earlier.find(guest) != nullptr) of = std::move(state_.history[guest.name]);
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
      const std::size_t at = state_.selected_row(rows);
      // From one that has ended there is no next: from its view the way leads to where the list would be.
      const bool is_seen = state_.view == View::guests || rows[at].guest == state_.selected_guest().guest;
      select(*rows[is_seen ? moved(at, lines, rows.size() - 1) : at].guest);
      return;
    }
    case View::events: state_.back_lines = moved(state_.back_lines, -lines, state_.events.size()); return;
    case View::help: state_.back_lines = moved(state_.back_lines, lines, columns().size() + 30); return;
    case View::hosts: return;
  }
}

void TopModel::select(const Guest& guest) {
  state_.selected = guest.name;
  state_.selected_ended = false;
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
      // What is seen from now on is this guest, not whoever comes to be in its row.
      if (state_.view != View::detail) {
        const auto rows = state_.rows();
        if (rows.empty()) return Action::none;
        select(*rows[state_.selected_row(rows)].guest);
      }
      show(View::detail);
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
