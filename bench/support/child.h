// Child: another program, or this one again, with pipes to its standard input and from its standard output.
// Thread-safety: one thread.
#pragma once

#include <string>
#include <vector>

namespace vmm::bench {

class Child {
 public:
  // Starts argv[0], found in PATH, in a session of its own. Throws std::runtime_error.
  explicit Child(std::vector<std::string> argv);
  // Ends its input, and waits for its end.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int pid() const noexcept { return pid_; }
  // A line of its output without the line end; empty at the end of the output. Blocks.
  std::string read_line();
  // Whether there is something to read, or the output has ended; waits up to that long.
  bool readable(int milliseconds) const;
  // Writes a line to its input. Throws std::runtime_error if it is gone.
  void write_line(const std::string& line);
  // Ends its input and waits. Returns its exit status, -1 if a signal ended it.
  int wait() noexcept;

 private:
  int pid_ = -1;
  int in_ = -1, out_ = -1;
  std::string buffered_;
};

// Runs a program to its end, without its output. Returns its exit status.
int run_program(std::vector<std::string> argv);

// For a child that waits until its parent lets go of it, or is gone.
void wait_for_end_of_input() noexcept;

}  // namespace vmm::bench
