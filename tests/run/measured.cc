#include "run/measured.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include <gtest/gtest.h>

extern char** environ;

namespace run_test {

Measured measure(const std::vector<std::string>& arguments) {
  Measured measured;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return measured;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> words;
  for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t process = -1;
  const int error = ::posix_spawnp(&process, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  EXPECT_EQ(error, 0) << arguments[0];
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof(buffer))) > 0;)
    measured.out.append(buffer, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  rusage usage{};
  if (error == 0 && ::wait4(process, &status, 0, &usage) == process) {
    measured.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    measured.peak = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  }
  return measured;
}

std::vector<std::string> in_guest(const std::vector<std::string>& options, const std::vector<std::string>& program) {
  std::vector<std::string> words = {VMMCTL_PROGRAM, "run"};
  words.insert(words.end(), options.begin(), options.end());
  words.emplace_back("--");
  words.insert(words.end(), program.begin(), program.end());
  return words;
}

fake::Outcome run_in_guest(const std::vector<std::string>& options, const std::vector<std::string>& program) {
  return fake::run(in_guest(options, program));
}

std::string half_of(std::uint64_t bytes) {
  constexpr std::uint64_t kLeast = 16 << 20;
  return std::to_string(std::max(bytes / 2, kLeast));
}

double reported(const std::string& report, const std::string& name) {
  const auto at = report.find(name + " ");
  return at == std::string::npos ? -1 : std::strtod(report.c_str() + at + name.size(), nullptr);
}

}  // namespace run_test
