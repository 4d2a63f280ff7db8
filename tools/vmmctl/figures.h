// Figures: one number for each enumerator of `Names`, whose last is `count`.
// Thread-safety: plain values.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmmctl {

// A count as a figure.
inline double number(std::uint64_t value) { return static_cast<double>(value); }

template <class Names>
struct Figures {
  double& operator[](Names name) { return values[static_cast<std::size_t>(name)]; }
  double operator[](Names name) const { return values[static_cast<std::size_t>(name)]; }
  void add(const Figures& other) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(Names::count); ++i) values[i] += other.values[i];
  }
  double values[static_cast<std::size_t>(Names::count)] = {};
};

}  // namespace vmmctl
