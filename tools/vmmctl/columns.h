// The columns of the table of guests: esxtop's, with its names.
// Thread-safety: constants.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "rates.h"

namespace vmmctl {

// One guest as the table shows it.
struct Row {
  const Guest* guest = nullptr;
  std::optional<GuestRates> rates;  // none before the second sample
};

enum class Unit { bytes, bytes_per_second, per_second, count, percent, node, balloon };

struct Column {
  const char* title;
  char key;  // sorts by it; ' ' = only < and > do
  std::size_t width;
  Unit unit;
  const char* batch_name;  // of the counter in batch mode, as esxtop's; bytes as MBytes there
  const char* meaning;
  std::optional<double> (*value)(const Row& row);
};

// All but NAME.
std::span<const Column> columns();

std::string cell_text(const Column& column, const Row& row);

}  // namespace vmmctl
