#include "support/report.h"

#include <algorithm>
#include <array>
#include <cstdarg>

namespace vmm::bench {
namespace {

std::string number(double value) { return text(value < 0.01 ? "%.4f" : (value < 100 ? "%.2f" : "%.0f"), value); }

}  // namespace

std::string text(const char* format, ...) {
  std::array<char, 512> buffer;
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer.data(), buffer.size(), format, arguments);
  va_end(arguments);
  return buffer.data();
}

void Report::add(Line line) {
  std::fprintf(stderr, "  %s: %s %s %s (%s)\n", line.name.c_str(), line.value.c_str(), line.bound.c_str(),
               line.verdict.c_str(), line.detail.c_str());
  lines_.push_back(std::move(line));
}

void Report::at_most(const std::string& name, double value, double bound, const std::string& detail) {
  const bool held = value <= bound;
  failures_ += held ? 0 : 1;
  add({name, number(value), "<= " + number(bound), held ? "ok" : "FAIL", detail});
}

void Report::at_least(const std::string& name, double value, double bound, const std::string& detail) {
  const bool held = value >= bound;
  failures_ += held ? 0 : 1;
  add({name, number(value), ">= " + number(bound), held ? "ok" : "FAIL", detail});
}

void Report::note(const std::string& name, double value, const std::string& detail) {
  add({name, number(value), "", "", detail});
}

void Report::skipped(const std::string& name, const std::string& reason) { add({name, "", "", "skipped", reason}); }

void Report::failed(const std::string& name, const std::string& reason) {
  ++failures_;
  add({name, "", "", "FAIL", reason});
}

void Report::print(std::FILE* out) const {
  const Line head{"comparison", "ratio", "bound", "", "measured"};
  std::array<std::size_t, 5> width{};
  const auto cells = [](const Line& l) { return std::array{&l.name, &l.value, &l.bound, &l.verdict, &l.detail}; };
  const auto widen = [&](const Line& l) {
    for (std::size_t i = 0; i < width.size(); ++i) width[i] = std::max(width[i], cells(l)[i]->size());
  };
  widen(head);
  for (const auto& l : lines_) widen(l);
  const auto row = [&](const Line& l) {
    for (std::size_t i = 0; i < width.size(); ++i)
      std::fprintf(out, "| %-*s ", static_cast<int>(width[i]), cells(l)[i]->c_str());
    std::fputs("|\n", out);
  };
  row(head);
  for (const auto w : width) std::fprintf(out, "|%s", std::string(w + 2, '-').c_str());
  std::fputs("|\n", out);
  for (const auto& l : lines_) row(l);
  std::fprintf(out, "\n%s\n", all_held() ? "All bounds hold." : text("%d bounds do not hold.", failures_).c_str());
}

}  // namespace vmm::bench
