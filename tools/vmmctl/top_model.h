// What vmmctl top knows and shows, apart from the terminal: samples and keys change it, draw() makes lines of it.
// Thread-safety: one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "columns.h"
#include "find_hosts.h"
#include "layout.h"
#include "sampler.h"

namespace vmmctl {

enum class View { hosts, guests, detail, events, help };

struct Key {
  enum class Kind { character, up, down, left, right, page_up, page_down, home, end, enter, escape, backspace, resize };
  Kind kind = Kind::character;
  char32_t character = 0;
};

// What the program is to do after a key.
enum class Action { none, quit, ask_now, interval, attach };

struct TimedEvent {
  Event event;
  std::int64_t wall_time_ms = 0;
};

// The last samples of a guest, oldest first. Bytes.
struct History {
  std::deque<double> resident, target, active, swapped;
};

struct TopState {
  Charset charset = Charset::ascii;
  std::chrono::milliseconds interval{2000};
  std::string socket;
  View view = View::guests;
  View back = View::guests;  // what help returns to

  std::vector<FoundHost> hosts;
  std::size_t host = 0;

  std::optional<Snapshot> now;
  std::map<std::string, GuestRates> rates;
  std::map<std::string, History> history;
  std::deque<TimedEvent> events;
  std::uint64_t events_lost = 0;
  std::optional<std::string> trouble;  // why there is no connection

  std::size_t sort_column = 0;  // 0 = NAME, else columns()[sort_column - 1]
  bool descending = false;
  std::size_t first_column = 0;  // of columns(), shown beside NAME
  std::string filter;
  std::string selected;         // name
  bool selected_ended = false;  // it has, even if there is another of its name
  std::size_t back_lines = 0;   // events: lines scrolled back; help: lines scrolled down

  enum class Prompt { none, filter, interval };
  Prompt prompt = Prompt::none;
  std::string typed;
  std::string message;  // until the next key

  // Those that match the filter, in order.
  std::vector<Row> rows() const;
  // Index among them of the guest whose name is selected; 0 if it is not there.
  std::size_t selected_row(const std::vector<Row>& rows) const;
  // The selected guest itself, whatever the filter; a null guest once it has ended.
  Row selected_guest() const;
  std::vector<const TimedEvent*> matching_events() const;
};

class TopModel {
 public:
  explicit TopModel(TopState state) : state_(std::move(state)) {}

  void apply(const Sample& sample);
  void lost(const Failure& failure) { state_.trouble = failure.message(); }
  Action key(const Key& key);
  const TopState& state() const { return state_; }

 private:
  void forget();
  Action character(char32_t c);
  Action typed(const Key& key);
  Action hosts_key(const Key& key);
  void move(std::ptrdiff_t lines);
  void sort_by(std::size_t column);
  void select(const Guest& guest);

  TopState state_;
};

// The whole screen: `height` lines, none wider than `width`.
Lines draw(const TopState& state, std::size_t width, std::size_t height);

}  // namespace vmmctl
