#include "output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "commands.h"
#include "text.h"

namespace vmmctl {

int complain(const Failure& failure) {
  std::string text = failure.message();
  // Lines stay lines; within them nothing reaches the terminal as it came.
  std::string shown;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    shown += (begin > 0 ? "\n" : "") + printable(std::string_view(text).substr(begin, end - begin), terminal_charset());
    begin = end + 1;
  }
  std::fprintf(stderr, "vmmctl: %s\n", shown.c_str());
  return failure.kind == FailureKind::usage ? kWrongUse : kFailure;
}

void warn(const std::string& text) {
  std::fprintf(stderr, "vmmctl: %s\n", printable(text, terminal_charset()).c_str());
}

Result<Output> Output::open(const std::string& path) {
  if (path.empty() || path == "-") return Output(STDOUT_FILENO, "standard output", Before::nothing);
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  const bool own = fd >= 0;
  if (fd < 0 && errno == EEXIST) fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return fail(FailureKind::system, path + ": " + std::generic_category().message(errno));
  return Output(fd, path, own ? Before::truncate_own : Before::truncate);
}

Output::Output(Output&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), name_(std::move(other.name_)), before_(other.before_) {}

Output::~Output() {
  if (fd_ <= STDOUT_FILENO) return;
  if (before_ == Before::truncate_own) ::unlink(name_.c_str());
  ::close(fd_);
}

Result<void> Output::begin() {
  if (std::exchange(before_, Before::nothing) == Before::nothing) return {};
  // Terminals, pipes and devices have no length.
  struct stat status {};
  if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) return {};
  if (::ftruncate(fd_, 0) == 0) return {};
  return fail(FailureKind::system, name_ + ": " + std::generic_category().message(errno));
}

Result<void> Output::write(const std::string& text) {
  if (auto begun = begin(); !begun) return begun;
  for (std::size_t done = 0; done < text.size();) {
    const auto written = ::write(fd_, text.data() + done, text.size() - done);
    if (written >= 0)
      done += static_cast<std::size_t>(written);
    else if (errno != EINTR)
      return fail(FailureKind::system, name_ + ": " + std::generic_category().message(errno));
  }
  return {};
}

}  // namespace vmmctl
