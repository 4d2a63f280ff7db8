// in_child(): runs the body of a test in a child process, for what would end or change this one. The child reports
// what it finds wrong as text; a child that hangs is killed.
// Thread-safety: called while no other thread of the test holds locks.
#pragma once

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <gtest/gtest.h>

#include "vmm/result.h"

namespace vmm::test {

// What a child found wrong, and notes on why it could not look.
class Findings {
 public:
  bool check(bool right, const std::string& otherwise) {
    if (!right) text_ += otherwise + "\n";
    return right;
  }
  template <class T>
  bool check(const Result<T>& result, const char* what) {
    return check(result.has_value(), result ? "" : std::string(what) + ": " + result.error().message());
  }
  template <class A, class B>
  void check_equal(const A& a, const B& b, const std::string& what) {
    if (!(a == b)) text_ += what + ": " + testing::PrintToString(a) + " instead of " + testing::PrintToString(b) + "\n";
  }
  void skip(const std::string& why) { text_ = kSkip + why; }
  const std::string& text() const { return text_; }

  static constexpr const char* kSkip = "skip: ";

 private:
  std::string text_;
};

struct ChildEnd {
  int status = -1;   // as of waitpid
  std::string text;  // what it found wrong
  bool well() const { return status == 0 && text.empty(); }
  bool skipped() const { return text.rfind(Findings::kSkip, 0) == 0; }
  std::string describe() const {
    std::string how = WIFSIGNALED(status) ? "child killed by signal " + std::to_string(WTERMSIG(status))
                                          : "child exited with " + std::to_string(WEXITSTATUS(status));
    return how + "\n" + text;
  }
};

// `most`: seconds after which the child is killed by SIGALRM. `begun` gets the child's id in this process.
inline ChildEnd in_child(const std::function<void(Findings&)>& body, unsigned most = 100,
                         const std::function<void(pid_t)>& begun = {}) {
  ChildEnd end;
  int ends[2];
  if (::pipe(ends) != 0) {
    end.text = std::string("pipe: ") + std::strerror(errno);
    return end;
  }
  std::fflush(nullptr);  // what is buffered is not the child's to write
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    ::alarm(most);
    Findings findings;
    body(findings);
    const auto& text = findings.text();
    std::size_t done = 0;
    while (done < text.size()) {
      const auto written = ::write(ends[1], text.data() + done, text.size() - done);
      if (written <= 0) break;
      done += static_cast<std::size_t>(written);
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  if (begun) begun(child);
  char buffer[512];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    end.text.append(buffer, static_cast<std::size_t>(got));
  ::close(ends[0]);
  ::waitpid(child, &end.status, 0);
  return end;
}

#define VMM_EXPECT_CHILD(end)                                \
  do {                                                       \
    const auto& end_ = (end);                                \
    if (end_.skipped()) GTEST_SKIP() << end_.text.substr(6); \
    EXPECT_TRUE(end_.well()) << end_.describe();             \
  } while (0)

}  // namespace vmm::test
