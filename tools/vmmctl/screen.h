// Screen: the terminal, through ncurses.
// Thread-safety: one thread; one Screen at a time.
#pragma once

#include <optional>

#include "failure.h"
#include "top_model.h"

struct screen;  // ncurses' SCREEN

namespace vmmctl {

class Screen {
 public:
  // Takes over the terminal. Errors: FailureKind::usage (no terminal, or one that curses does not know).
  static Result<Screen> create();
  Screen(Screen&& other) noexcept;
  Screen& operator=(Screen&&) = delete;
  // Gives it back as it was.
  ~Screen();

  void show(const TopState& state);
  // The next key, if one was pressed.
  std::optional<Key> key();

 private:
  explicit Screen(::screen* terminal) : terminal_(terminal) {}
  ::screen* terminal_;
};

}  // namespace vmmctl
