#include "terminal.h"

#include <fstream>

#include <gtest/gtest.h>

#include "support/eventually.h"

namespace fake {

template <class Condition>
bool eventually(Condition&& condition) {
  return vmm::test::eventually(condition, std::chrono::seconds(30));
}

Terminal::Terminal(const std::string& directory, const std::string& command, unsigned width, unsigned height)
    : socket_(directory + "/tmux") {
  // The screen stays when the program ends, so that its last words can be read.
  std::ofstream(directory + "/tmux.conf") << "set -g remain-on-exit on\n"
                                             "set -g default-terminal tmux-256color\n";
  const Outcome begun = run({"tmux", "-u", "-f", directory + "/tmux.conf", "-S", socket_, "new-session", "-d", "-x",
                             std::to_string(width), "-y", std::to_string(height), command},
                            {"LC_ALL=C.UTF-8", "TMUX="});
  EXPECT_EQ(begun.status, 0) << begun.err;
}

Terminal::~Terminal() { tmux({"kill-server"}); }

Outcome Terminal::tmux(std::vector<std::string> arguments) const {
  const std::vector<std::string> before{"tmux", "-u", "-S", socket_};
  arguments.insert(arguments.begin(), before.begin(), before.end());
  return run(arguments, {"LC_ALL=C.UTF-8", "TMUX="});
}

void Terminal::press(const std::vector<std::string>& keys) {
  std::vector<std::string> arguments{"send-keys"};
  arguments.insert(arguments.end(), keys.begin(), keys.end());
  EXPECT_EQ(tmux(arguments).status, 0);
}

void Terminal::resize(unsigned width, unsigned height) {
  EXPECT_EQ(tmux({"resize-window", "-x", std::to_string(width), "-y", std::to_string(height)}).status, 0);
}

std::string Terminal::screen() const { return tmux({"capture-pane", "-p"}).out; }

bool Terminal::shows(const std::string& text) const {
  if (eventually([&] { return screen().find(text) != std::string::npos; })) return true;
  ADD_FAILURE() << "'" << text << "' is not on the screen:\n" << screen();
  return false;
}

bool Terminal::hides(const std::string& text) const {
  if (eventually([&] { return screen().find(text) == std::string::npos; })) return true;
  ADD_FAILURE() << "'" << text << "' is still on the screen:\n" << screen();
  return false;
}

bool Terminal::ended() const {
  return eventually([&] { return tmux({"display-message", "-p", "#{pane_dead}"}).out == "1\n"; });
}

}  // namespace fake
