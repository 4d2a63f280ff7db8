// Runs programs and reads what they say.
// Thread-safety: any thread.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

namespace fake {

struct Outcome {
  int status = -1;  // of exit(); 128 + the signal that ended it
  std::string out, err;
};

// A program under way. One that is not ended is killed.
class Program {
 public:
  // `arguments` begin with the program, which is looked for in PATH; `environment` holds NAME=value to add. Its input
  // is empty.
  explicit Program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number);
  // Waits for its end.
  Outcome end();
  // What it has said so far.
  std::string out() const;

 private:
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1;  // files without names
};

Outcome run(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {});
// vmmctl with these arguments, in a UTF-8 locale.
Outcome vmmctl(std::vector<std::string> arguments, const std::vector<std::string>& environment = {});
// It is in PATH.
bool there_is(const std::string& program);

std::string file_text(const std::string& path);

}  // namespace fake
