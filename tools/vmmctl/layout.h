// Lines of styled text, as a screen shows them.
// Thread-safety: plain values.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "text.h"

namespace vmmctl {

enum class Style {
  plain,
  dim,
  bold,
  title,     // the top line
  heading,   // above a table
  sorted,    // the heading of the column that sorts
  selected,  // the row that keys act on
  good,
  notice,
  warning,
  bad,
  alarm,
  guests,  // kinds of memory, in bars and graphs
  copies,
  overhead,
  unused,
  withheld,
};

struct Span {
  std::string text;  // printable()
  Style style = Style::plain;
};

struct Line {
  std::vector<Span> spans;

  Line() = default;
  explicit Line(std::string text, Style style = Style::plain) { add(std::move(text), style); }
  Line& add(std::string text, Style style = Style::plain) {
    spans.push_back({std::move(text), style});
    return *this;
  }
  std::string text() const;
  std::size_t width() const;
};

using Lines = std::vector<Line>;

// Cut to `width` columns.
Line clipped(const Line& line, std::size_t width, Charset charset);
// Exactly that many columns: cut, or filled in the style.
Line filled(const Line& line, std::size_t width, Style style, Charset charset);

// How a memory state looks.
Style state_style(std::string_view state);

// Parts of a whole as a bar of `width` columns. A part that is not 0 is seen.
struct Part {
  double amount = 0;
  Style style = Style::plain;
};
Line bar(const std::vector<Part>& parts, std::size_t width, Charset charset);

// A curve of the last values, newest at the right, in `height` lines of `width` columns; `highest` is at the top.
// UTF-8: two values a column and four steps a line; ASCII: one value a column.
std::vector<std::string> graph(const std::vector<double>& values, double highest, std::size_t width, std::size_t height,
                               Charset charset);

}  // namespace vmmctl
