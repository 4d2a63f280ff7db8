// The experiment: two guests of the same size and shares in a host that cannot hold both. Both fill all their memory,
// then one works and the other is idle; first without the tax on idle memory, then with it.
// Thread-safety: run() is called by one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "vmm/result.h"
#include "vmm/units.h"

namespace idle_tax {

struct Settings {
  std::uint64_t guest = 256 * vmm::MiB;
  std::uint64_t memory = 360 * vmm::MiB;  // of the host
  double tax = 0.75;                      // in the second half
  unsigned seconds = 50;                  // of both halves together
  unsigned sample_seconds = 2;            // length of a sampling period
  std::string swap_directory;             // empty = the library's default
};

// Once a second. Bytes.
struct Row {
  double second = 0;
  double tax = 0;
  std::uint64_t idle_resident = 0, busy_resident = 0;
  std::uint64_t idle_active = 0, busy_active = 0;  // estimates
  std::uint64_t process = 0;                       // all that is resident of this process, as the kernel counts it
  double operations = 0;                           // per second, since the row before
};

// Means of the second half of a phase.
struct Phase {
  std::uint64_t idle_resident = 0, busy_resident = 0;
  double operations = 0;
};

struct Outcome {
  std::vector<Row> rows;
  Phase untaxed, taxed;
  std::uint64_t wrong = 0;  // records that were not as they had been written
};

// Calls `row` for each as it is taken. Errors: those of the library.
vmm::Result<Outcome> run(const Settings& settings, const std::function<void(const Row&)>& row);

// Of the rows with that tax.
Phase settled(const std::vector<Row>& rows, double tax);

}  // namespace idle_tax
