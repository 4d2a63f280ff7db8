#include "plot/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace plot {
namespace {

constexpr std::array<char, 6> kLetters = {'*', 'o', '+', 'x', '#', '@'};
constexpr std::array<const char*, 6> kColours = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf"};
constexpr double kWidth = 760, kHeight = 300, kLeft = 70, kRight = 20, kTop = 40, kBottom = 45;  // of a chart, in px
constexpr int kTicks = 5;

struct Area {
  double x_first = 0, x_last = 1, y_end = 1;
  double across(double x) const { return std::clamp((x - x_first) / (x_last - x_first), 0.0, 1.0); }
  double up(double y) const { return std::clamp(y / y_end, 0.0, 1.0); }
};

Area area_of(const Chart& chart) {
  Area area;
  bool any = false;
  double highest = 0;
  for (const Curve& curve : chart.curves) {
    for (const Point& p : curve.points) {
      area.x_first = any ? std::min(area.x_first, p.x) : p.x;
      area.x_last = any ? std::max(area.x_last, p.x) : p.x;
      highest = std::max(highest, p.y);
      any = true;
    }
  }
  if (area.x_last <= area.x_first) area.x_last = area.x_first + 1;
  area.y_end = axis_end(highest);
  return area;
}

// As short as it is exact enough for an axis: 0.25, 20, 1.5k, 3M.
std::string number(double value) {
  const char* unit = "";
  if (std::abs(value) >= 1e6) {
    value /= 1e6;
    unit = "M";
  } else if (std::abs(value) >= 1e4) {
    value /= 1e3;
    unit = "k";
  }
  std::array<char, 32> out;
  std::snprintf(out.data(), out.size(), "%.4g%s", value, unit);
  return out.data();
}

std::string escaped(const std::string& raw) {
  std::string out;
  for (const char c : raw) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      default: out += c;
    }
  }
  return out;
}

std::size_t cell(double fraction, std::size_t cells) {
  return static_cast<std::size_t>(std::lround(fraction * static_cast<double>(cells - 1)));
}

std::string padded(const std::string& text, std::size_t width) {
  return text.size() >= width ? text : std::string(width - text.size(), ' ') + text;
}

[[gnu::format(printf, 2, 3)]] void add(std::string& out, const char* format, ...) {
  std::array<char, 256> line;
  va_list values;
  va_start(values, format);
  std::vsnprintf(line.data(), line.size(), format, values);
  va_end(values);
  out += line.data();
}

void add_label(std::string& out, double x, double y, const char* anchor, const std::string& label) {
  add(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
  out += escaped(label) + "</text>\n";
}

void add_chart(std::string& out, const Chart& chart, double top) {
  const Area area = area_of(chart);
  const double width = kWidth - kLeft - kRight, height = kHeight - kTop - kBottom;
  const auto x_of = [&](double x) { return kLeft + area.across(x) * width; };
  const auto y_of = [&](double y) { return top + kTop + (1 - area.up(y)) * height; };
  add_label(out, kLeft, top + 16, "start", chart.title + " (" + chart.y_name + ")");
  for (int i = 0; i <= kTicks; ++i) {
    const double part = static_cast<double>(i) / kTicks;
    const double y = area.y_end * part, x = area.x_first + (area.x_last - area.x_first) * part;
    add(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", kLeft, y_of(y), kLeft + width,
        y_of(y));
    add_label(out, kLeft - 6, y_of(y) + 4, "end", number(y));
    add_label(out, x_of(x), top + kTop + height + 16, "middle", number(x));
  }
  add_label(out, kLeft + width / 2, top + kTop + height + 34, "middle", chart.x_name);
  for (const Mark& mark : chart.marks) {
    add(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#888\" stroke-dasharray=\"4 3\"/>\n",
        x_of(mark.x), y_of(area.y_end), x_of(mark.x), y_of(0));
    add_label(out, x_of(mark.x) + 4, top + kTop + 10, "start", mark.name);
  }
  double legend = kLeft;
  for (std::size_t i = 0; i < chart.curves.size(); ++i) {
    const char* const colour = kColours[i % kColours.size()];
    add(out, "<polyline fill=\"none\" stroke-width=\"1.8\" stroke=\"%s\" points=\"", colour);
    for (const Point& p : chart.curves[i].points) add(out, "%.1f,%.1f ", x_of(p.x), y_of(p.y));
    out += "\"/>\n";
    add(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"4\" fill=\"%s\"/>\n", legend, top + 26, colour);
    add_label(out, legend + 18, top + 32, "start", chart.curves[i].name);
    legend += 40 + 7 * static_cast<double>(chart.curves[i].name.size());
  }
}

}  // namespace

double axis_end(double highest) {
  if (!(highest > 0) || !std::isfinite(highest)) return 1;
  const double power = std::pow(10, std::floor(std::log10(highest)));
  for (const double step : {1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0})
    if (highest <= step * power * (1 + 1e-9)) return step * power;
  return 10 * power;
}

std::string text(const Chart& chart, std::size_t columns, std::size_t rows) {
  columns = std::max<std::size_t>(columns, 2);
  rows = std::max<std::size_t>(rows, 2);
  const Area area = area_of(chart);
  std::vector<std::string> lines(rows, std::string(columns, ' '));
  for (const Mark& mark : chart.marks)
    for (auto& line : lines) line[cell(area.across(mark.x), columns)] = '|';
  for (std::size_t i = 0; i < chart.curves.size(); ++i) {
    const auto& points = chart.curves[i].points;
    const auto draw = [&](double across, double up) {
      lines[rows - 1 - cell(up, rows)][cell(across, columns)] = kLetters[i % kLetters.size()];
    };
    for (std::size_t k = 0; k < points.size(); ++k) {
      const double x = area.across(points[k].x), y = area.up(points[k].y);
      draw(x, y);
      if (k + 1 == points.size()) break;
      // Between two points, one letter a column.
      const double next = area.across(points[k + 1].x), rise = area.up(points[k + 1].y) - y;
      const double step = 1 / static_cast<double>(columns - 1);
      for (double at = x + step; at < next; at += step) draw(at, y + rise * (at - x) / (next - x));
    }
  }

  std::string out = chart.title + " (" + chart.y_name + ")\n";
  const std::string highest = number(area.y_end), half = number(area.y_end / 2);
  const std::size_t margin = std::max({highest.size(), half.size(), std::size_t{6}});
  for (std::size_t r = 0; r < rows; ++r) {
    const std::string& label = r == 0                                 ? highest
                               : r == (rows - 1) / 2 && rows % 2 == 1 ? half
                               : r == rows - 1                        ? "0"
                                                                      : "";
    out += padded(label, margin) + " |" + lines[r] + "\n";
  }
  out += std::string(margin + 1, ' ') + "+" + std::string(columns, '-') + "\n";
  const std::string first = number(area.x_first), last = number(area.x_last) + " " + chart.x_name;
  out +=
      std::string(margin + 2, ' ') + first + padded(last, columns > first.size() ? columns - first.size() : 0) + "\n";
  out += std::string(margin + 2, ' ');
  for (std::size_t i = 0; i < chart.curves.size(); ++i)
    out += std::string(i > 0 ? "   " : "") + kLetters[i % kLetters.size()] + " " + chart.curves[i].name;
  for (const Mark& mark : chart.marks) out += "   | " + mark.name;
  return out + "\n";
}

std::string svg(std::span<const Chart> charts) {
  const double height = kHeight * static_cast<double>(charts.size());
  std::string out;
  add(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" font-family=\"sans-serif\"",
      kWidth, height);
  out += " font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  for (std::size_t i = 0; i < charts.size(); ++i) add_chart(out, charts[i], kHeight * static_cast<double>(i));
  return out + "</svg>\n";
}

bool write_svg(const std::string& path, std::span<const Chart> charts) {
  const std::string document = svg(charts);
  std::FILE* const file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return false;
  const bool written = std::fwrite(document.data(), 1, document.size(), file) == document.size();
  return (std::fclose(file) == 0) && written;
}

}  // namespace plot
