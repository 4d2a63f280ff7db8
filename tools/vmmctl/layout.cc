#include "layout.h"

#include <algorithm>
#include <cmath>

namespace vmmctl {

std::string Line::text() const {
  std::string whole;
  for (const Span& span : spans) whole += span.text;
  return whole;
}

std::size_t Line::width() const {
  std::size_t whole = 0;
  for (const Span& span : spans) whole += width_of(span.text);
  return whole;
}

Line clipped(const Line& line, std::size_t width, Charset charset) {
  if (line.width() <= width) return line;
  Line result;
  std::size_t left = width;
  for (const Span& span : line.spans) {
    const std::size_t takes = width_of(span.text);
    if (takes > left || left == 0) {
      result.add(fitted(span.text, left, Align::left, charset), span.style);
      break;
    }
    result.spans.push_back(span);
    left -= takes;
  }
  return result;
}

Line filled(const Line& line, std::size_t width, Style style, Charset charset) {
  Line result = clipped(line, width, charset);
  const std::size_t has = result.width();
  if (has < width) result.add(std::string(width - has, ' '), style);
  return result;
}

Style state_style(std::string_view state) {
  if (state == "high") return Style::good;
  if (state == "clear") return Style::notice;
  if (state == "soft") return Style::warning;
  if (state == "hard") return Style::bad;
  if (state == "low") return Style::alarm;
  return Style::plain;
}

Line bar(const std::vector<Part>& parts, std::size_t width, Charset charset) {
  double whole = 0;
  for (const Part& part : parts) whole += part.amount;
  Line line;
  if (whole <= 0 || width == 0) return line.add(std::string(width, ' '));
  std::vector<std::size_t> cells;
  std::size_t used = 0;
  for (const Part& part : parts) {
    const auto share = static_cast<std::size_t>(std::floor(part.amount / whole * static_cast<double>(width)));
    cells.push_back(part.amount > 0 ? std::max<std::size_t>(share, 1) : 0);
    used += cells.back();
  }
  // What rounding leaves, or takes too much, is the largest part's.
  const auto largest = static_cast<std::size_t>(std::max_element(cells.begin(), cells.end()) - cells.begin());
  if (used < width) cells[largest] += width - used;
  if (used > width) cells[largest] -= std::min(cells[largest], used - width);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Style style = parts[i].style;
    // Told apart without colours, too.
    const bool utf8 = charset == Charset::utf8;
    const char* mark = style == Style::guests     ? (utf8 ? "█" : "#")
                       : style == Style::copies   ? (utf8 ? "▓" : "=")
                       : style == Style::overhead ? (utf8 ? "▒" : "o")
                       : style == Style::withheld ? (utf8 ? "×" : "x")
                                                  : (utf8 ? "░" : ".");
    std::string text;
    for (std::size_t n = 0; n < cells[i]; ++n) text += mark;
    line.add(text, style);
  }
  return clipped(line, width, charset);
}

std::vector<std::string> graph(const std::vector<double>& values, double highest, std::size_t width, std::size_t height,
                               Charset charset) {
  const std::size_t per_cell = charset == Charset::utf8 ? 2 : 1;
  const std::size_t steps = charset == Charset::utf8 ? 4 * height : height;
  const std::size_t shown = std::min(values.size(), width * per_cell);
  const std::size_t room = width * per_cell;
  // How many steps high each place is; 0 where there is no value.
  std::vector<std::size_t> heights(room, 0);
  for (std::size_t i = 0; i < shown; ++i) {
    const double value = values[values.size() - shown + i];
    if (value <= 0 || highest <= 0) continue;
    const auto high = static_cast<std::size_t>(std::lround(value / highest * static_cast<double>(steps)));
    heights[room - shown + i] = std::clamp<std::size_t>(high, 1, steps);
  }
  std::vector<std::string> lines(height);
  for (std::size_t row = 0; row < height; ++row) {
    const std::size_t below = (height - 1 - row) * (steps / std::max<std::size_t>(height, 1));
    for (std::size_t column = 0; column < width; ++column) {
      if (charset == Charset::ascii) {
        lines[row] += heights[column] > below ? '#' : ' ';
        continue;
      }
      // Dots of a braille cell, bottom to top.
      constexpr unsigned kLeft[] = {0x40, 0x04, 0x02, 0x01};
      constexpr unsigned kRight[] = {0x80, 0x20, 0x10, 0x08};
      unsigned dots = 0;
      for (std::size_t step = 0; step < 4; ++step) {
        if (heights[2 * column] > below + step) dots |= kLeft[step];
        if (heights[2 * column + 1] > below + step) dots |= kRight[step];
      }
      if (dots == 0) {
        lines[row] += ' ';
      } else {
        const unsigned code = 0x2800 + dots;
        lines[row] += {static_cast<char>(0xE0 | (code >> 12)), static_cast<char>(0x80 | ((code >> 6) & 0x3F)),
                       static_cast<char>(0x80 | (code & 0x3F))};
      }
    }
  }
  return lines;
}

}  // namespace vmmctl
