// PageList: ranges of free pages and what has become of each: free, on its way to the host, or given to it.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "vmm/balloon.h"

namespace vmm::host {

class PageList {
 public:
  enum class State : std::uint8_t { free, leaving, given };

  // [begin, end) is free, but for what is in the list already. Throws bad_alloc: part of it may be free then.
  void add(std::uint64_t begin, std::uint64_t end);
  // Takes it out. False: not all of it is there to be used. Throws bad_alloc: nothing is taken.
  bool take(std::uint64_t begin, std::uint64_t end);
  // The lowest range of so many bytes that is free, else the lowest that is free or given.
  std::optional<std::uint64_t> find(std::uint64_t bytes) const noexcept;
  // So many bytes of what is free, the highest first, become leaving. Throws bad_alloc: none does.
  std::vector<BalloonRange> leave(std::uint64_t bytes);
  // What is given or leaving in [begin, end) becomes free. Throws bad_alloc: part of it may be free then.
  void come_back(std::uint64_t begin, std::uint64_t end);
  // What is leaving is given.
  void settle() noexcept;

  std::uint64_t bytes(State state) const noexcept { return bytes_[static_cast<std::size_t>(state)]; }

 private:
  struct Piece {
    std::uint64_t end = 0;
    State state = State::free;
  };
  using Pieces = std::map<std::uint64_t, Piece>;  // by their begin; disjoint

  // A piece that covers `at` is two then, one of which begins there.
  void split(std::uint64_t at);
  std::uint64_t& count(State state) noexcept { return bytes_[static_cast<std::size_t>(state)]; }
  void set(Pieces::iterator piece, State state) noexcept;
  // Joins equal neighbours in and beside [begin, end).
  void join(std::uint64_t begin, std::uint64_t end) noexcept;

  Pieces pieces_;
  std::uint64_t bytes_[3] = {};
};

}  // namespace vmm::host
