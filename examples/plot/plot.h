// Plot: curves over a common x axis, as text for a terminal and as SVG for a file. For the examples' results.
// Thread-safety: pure functions of their arguments.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace plot {

struct Point {
  double x = 0, y = 0;
};

struct Curve {
  std::string name;
  std::vector<Point> points;  // by x, ascending
};

// A line across the plot, at x.
struct Mark {
  double x = 0;
  std::string name;
};

struct Chart {
  std::string title;
  std::string x_name, y_name;  // with their units
  std::vector<Curve> curves;   // six can be told apart
  std::vector<Mark> marks;
};

// The y axis begins at 0 and ends at a round number at or above the highest point.
double axis_end(double highest);

// `columns` by `rows` is the area of the curves; title, axes and names come around it. Curves are drawn with the
// letters * o + x # @, the later over the earlier; marks with '|'.
std::string text(const Chart& chart, std::size_t columns = 72, std::size_t rows = 14);

// A whole SVG document: the charts one below the other.
std::string svg(std::span<const Chart> charts);

// Writes svg() to `path`. False, with errno set: it could not be written.
bool write_svg(const std::string& path, std::span<const Chart> charts);

}  // namespace plot
