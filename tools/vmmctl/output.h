// Where results go: standard output, or a file. Complaints go to standard error.
// Thread-safety: one thread.
#pragma once

#include <string>

#include "failure.h"

namespace vmmctl {

// "vmmctl: ..." on standard error. Returns the status to end with.
int complain(const Failure& failure);
void warn(const std::string& text);

class Output {
 public:
  // An empty path or "-" is standard output. A file is opened and made anew with the first write: what it held is lost
  // only when there is something to take its place. One that was made here and never written to is removed. Errors:
  // FailureKind::system naming the file.
  static Result<Output> open(const std::string& path);
  Output(Output&& other) noexcept;
  Output& operator=(Output&&) = delete;
  ~Output();

  // All of it, at once on its way. Errors: FailureKind::system naming the file.
  Result<void> write(const std::string& text);

 private:
  // What is to be done with the file before its first byte.
  enum class Before { nothing, truncate, truncate_own };

  Output(int fd, std::string name, Before before) : fd_(fd), name_(std::move(name)), before_(before) {}
  Result<void> begin();

  int fd_;
  std::string name_;
  Before before_;
};

}  // namespace vmmctl
