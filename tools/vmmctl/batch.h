// vmmctl top --batch: a line of CSV for each moment, as esxtop's batch mode writes it (PDH-CSV 4.0), so that what reads
// that reads this: the first column is the time, the others are counters with names like
// \\machine\Group Memory(guest)\Target Size MBytes. The counters are those of the guests there are at the first moment.
// Thread-safety: a Batch is one thread's.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "snapshot.h"

namespace vmmctl {

class Batch {
 public:
  explicit Batch(std::string machine) : machine_(std::move(machine)) {}

  // The heading and the first line, then one line each; '\n' included. What is not known is an empty string: rates in
  // the first line, and guests that are gone.
  std::string lines(const Snapshot& now);

 private:
  std::string heading(const Snapshot& now) const;

  std::string machine_;
  std::vector<std::string> guests_;
  std::size_t nodes_ = 0;
  std::optional<Snapshot> before_;
};

}  // namespace vmmctl
