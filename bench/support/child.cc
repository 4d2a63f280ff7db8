#include "support/child.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace vmm::bench {

Child::Child(std::vector<std::string> argv) {
  std::array<int, 2> in{}, out{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0) throw std::runtime_error(std::string("pipe2: ") + std::strerror(errno));
  if (::pipe2(out.data(), O_CLOEXEC) != 0) {
    ::close(in[0]);
    ::close(in[1]);
    throw std::runtime_error(std::string("pipe2: ") + std::strerror(errno));
  }
  std::vector<char*> words;
  for (auto& a : argv) words.push_back(a.data());
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  const int error = ::posix_spawnp(&pid_, words[0], &actions, &attributes, words.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  in_ = in[1];
  out_ = out[0];
  if (error != 0) {
    pid_ = -1;
    ::close(in_);
    ::close(out_);
    throw std::runtime_error("starting " + argv[0] + ": " + std::strerror(error));
  }
}

Child::~Child() {
  wait();
  ::close(out_);
}

int Child::wait() noexcept {
  if (pid_ < 0) return -1;
  ::close(std::exchange(in_, -1));
  int status = -1;
  const int waited = ::waitpid(std::exchange(pid_, -1), &status, 0);
  return waited > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void Child::write_line(const std::string& line) {
  const auto text = line + '\n';
  // A pipe takes a short line whole. That its reader is gone must not end this process.
  ::signal(SIGPIPE, SIG_IGN);
  if (::write(in_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw std::runtime_error(std::string("write to a child: ") + std::strerror(errno));
}

bool Child::readable(int milliseconds) const {
  if (!buffered_.empty()) return true;
  pollfd p{out_, POLLIN, 0};
  return ::poll(&p, 1, milliseconds) > 0;
}

std::string Child::read_line() {
  for (;;) {
    if (const auto end = buffered_.find('\n'); end != std::string::npos) {
      auto line = buffered_.substr(0, end);
      buffered_.erase(0, end + 1);
      return line;
    }
    std::array<char, 4096> bytes;
    const auto count = ::read(out_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return std::exchange(buffered_, {});
    buffered_.append(bytes.data(), static_cast<std::size_t>(count));
  }
}

int run_program(std::vector<std::string> argv) {
  Child child(std::move(argv));
  while (!child.read_line().empty()) {
  }
  return child.wait();
}

void wait_for_end_of_input() noexcept {
  char byte;
  ssize_t got;
  do got = ::read(STDIN_FILENO, &byte, 1);
  while (got > 0 || (got < 0 && errno == EINTR));
}

}  // namespace vmm::bench
