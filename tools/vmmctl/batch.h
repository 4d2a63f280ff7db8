// vmmctl top --batch: a line of CSV for each moment, in the form of esxtop's batch mode (PDH-CSV 4.0): the first column
// is the time, the others are counters with names like \\machine\Group Memory(guest)\Target Size MBytes. The counters
// are those of the guests there are at the first moment. A name in them is percent-encoded where it holds a control
// character, %, \, ( or ): it cannot be taken for another part of the path, and no two read the same.
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
  // the first line and where the host is another than in the line before, and guests that are gone.
  std::string lines(const Snapshot& now, bool restarted = false);

 private:
  std::string heading(const Snapshot& now) const;

  std::string machine_;
  std::vector<std::string> guests_;
  std::size_t nodes_ = 0;
  std::optional<Snapshot> before_;
};

}  // namespace vmmctl
