#include "keys.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace tenants {
namespace {

constexpr double kTheta = 0.99;
constexpr std::uint64_t kBlock = 64;

}  // namespace

std::uint64_t Random::next() noexcept {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

std::uint64_t Random::below(std::uint64_t bound) noexcept {
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
}

double Random::unit() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }

Keys::Keys(std::uint64_t rows, std::uint64_t seed) : rows_(rows), blocks_(rows / kBlock) {
  const auto n = static_cast<double>(rows);
  for (std::uint64_t i = 1; i <= rows; ++i) zeta_ += std::pow(static_cast<double>(i), -kTheta);
  const double zeta_of_two = 1 + std::pow(2.0, -kTheta);
  eta_ = (1 - std::pow(2 / n, 1 - kTheta)) / (1 - zeta_of_two / zeta_);

  std::iota(blocks_.begin(), blocks_.end(), 0U);
  Random random(seed);
  for (std::size_t i = blocks_.size(); i > 1; --i) std::swap(blocks_[i - 1], blocks_[random.below(i)]);
}

// Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD 1994, section 3.2.
std::uint64_t Keys::rank(double unit) const noexcept {
  const double weight = unit * zeta_;
  if (weight < 1 || rows_ < 3) return 0;
  if (weight < 1 + std::pow(2.0, -kTheta)) return 1;
  const double place = static_cast<double>(rows_) * std::pow(eta_ * unit - eta_ + 1, 1 / (1 - kTheta));
  return std::min(static_cast<std::uint64_t>(place), rows_ - 1);
}

std::int64_t Keys::pick(Random& random) const noexcept {
  std::uint64_t place = rank(random.unit());
  // The rows past the last full block keep their place.
  if (place / kBlock < blocks_.size()) place = blocks_[place / kBlock] * kBlock + place % kBlock;
  return static_cast<std::int64_t>(place + 1);
}

}  // namespace tenants
