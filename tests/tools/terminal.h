// Terminal: a program on a screen of a given size, through tmux, of which keys are pressed and lines are read.
// Thread-safety: one thread.
#pragma once

#include <string>
#include <vector>

#include "program.h"

namespace fake {

class Terminal {
 public:
  // tmux keeps its socket in `directory`. `command` is a shell's.
  Terminal(const std::string& directory, const std::string& command, unsigned width, unsigned height);
  // Ends the server, and the program with it.
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // Names of keys as tmux has them: "Down", "Enter", "q".
  void press(const std::vector<std::string>& keys);
  void resize(unsigned width, unsigned height);
  std::string screen() const;
  // Waits until the screen holds `text`; false, and a failed test with the screen, if that does not happen.
  bool shows(const std::string& text) const;
  // Waits until it does not.
  bool hides(const std::string& text) const;
  // Waits until the program has ended.
  bool ended() const;

 private:
  Outcome tmux(std::vector<std::string> arguments) const;
  std::string socket_;
};

}  // namespace fake
