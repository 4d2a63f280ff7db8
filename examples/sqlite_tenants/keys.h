// Random, and Keys: which row the next operation is about.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

namespace tenants {

// splitmix64 (Steele, Lea & Flood 2014): the same numbers everywhere for the same seed.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t next() noexcept;
  // Uniform in [0, bound), bound > 0.
  std::uint64_t below(std::uint64_t bound) noexcept;
  // Uniform in [0, 1).
  double unit() noexcept;

 private:
  std::uint64_t state_;
};

// Keys 1 … rows with a Zipf distribution of exponent 0.99, as YCSB has it: a fifth of the rows gets about
// 85 % of the accesses. Rows of like rank stay together in blocks of 64 and the blocks are shuffled, so the
// hot rows are spread over the whole file yet fill only about a fifth of its pages.
class Keys {
 public:
  Keys() = default;
  Keys(std::uint64_t rows, std::uint64_t seed);
  // rows > 0.
  std::int64_t pick(Random& random) const noexcept;

 private:
  std::uint64_t rank(double unit) const noexcept;

  std::uint64_t rows_ = 0;
  double zeta_ = 0;
  double eta_ = 0;
  std::vector<std::uint32_t> blocks_;  // block of ranks -> block of keys
};

}  // namespace tenants
