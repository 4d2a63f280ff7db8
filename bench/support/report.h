// Report: the lines of the table that a run of the comparisons ends with.
// Thread-safety: one thread.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

namespace vmm::bench {

class Report {
 public:
  // Prints each line to stderr as it is found, so that a long run shows what it does.
  Report() = default;

  // `value` must be at most (at least) `bound`. `detail` says what was measured against what, with units.
  void at_most(const std::string& name, double value, double bound, const std::string& detail);
  void at_least(const std::string& name, double value, double bound, const std::string& detail);
  // A figure without a bound.
  void note(const std::string& name, double value, const std::string& detail);
  // A comparison that could not be made because the machine lacks something.
  void skipped(const std::string& name, const std::string& reason);
  // A comparison that broke.
  void failed(const std::string& name, const std::string& reason);

  void print(std::FILE* out) const;
  // No line failed. Skipped ones do not count.
  bool all_held() const noexcept { return failures_ == 0; }

 private:
  struct Line {
    std::string name, value, bound, verdict, detail;
  };
  void add(Line line);

  std::vector<Line> lines_;
  int failures_ = 0;
};

// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

}  // namespace vmm::bench
