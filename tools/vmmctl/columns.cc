#include "columns.h"

#include "text.h"

namespace vmmctl {
namespace {

using Value = std::optional<double>;

template <std::uint64_t Guest::*member>
Value of(const Row& row) {
  return static_cast<double>(row.guest->*member);
}

template <double GuestRates::*member>
Value rate(const Row& row) {
  return row.rates ? Value((*row.rates).*member) : std::nullopt;
}

Value home_node(const Row& row) { return static_cast<double>(row.guest->home_node); }

Value local_percent(const Row& row) {
  const auto whole = static_cast<double>(row.guest->local) + static_cast<double>(row.guest->remote);
  return whole > 0 ? Value(100 * static_cast<double>(row.guest->local) / whole) : std::nullopt;
}

// 0 = has none, 1 = has one that is not trusted now, 2 = has one.
Value balloon(const Row& row) {
  if (row.guest->balloon_max == 0) return 0;
  return row.guest->balloon_distrusted ? 1 : 2;
}

constexpr Column kColumns[] = {
    {"MEMSZ", 'M', 6, Unit::bytes, "Memory Size MBytes", "size of the guest", of<&Guest::memory>},
    {"GRANT", 'G', 6, Unit::bytes, "Memory Granted Size MBytes",
     "its pages that hold something and are not in the swap file: resident and shared", of<&Guest::granted>},
    {"TGT", 'T', 6, Unit::bytes, "Target Size MBytes", "memory the host would have it hold", of<&Guest::target>},
    {"TCHD", 'A', 6, Unit::bytes, "Touched MBytes", "active memory, estimated from samples", of<&Guest::active>},
    {"MCTL?", ' ', 5, Unit::balloon, "Memctl?", "Y: it has a balloon; N: none; !: its driver is distrusted for a while",
     balloon},
    {"MCTLSZ", 'B', 6, Unit::bytes, "Memctl MBytes", "given up by its balloon", of<&Guest::ballooned>},
    {"MCTLTGT", ' ', 7, Unit::bytes, "Memctl Target MBytes", "what the host would have the balloon give up",
     of<&Guest::balloon_target>},
    {"MCTLMAX", ' ', 7, Unit::bytes, "Memctl Max MBytes", "most the balloon may give up", of<&Guest::balloon_max>},
    {"SHRD", 'C', 6, Unit::bytes, "Shared MBytes", "shows a copy that others show too, or zeros", of<&Guest::shared>},
    {"COMMON", ' ', 6, Unit::bytes, "Shared Common MBytes", "its part of those copies", of<&Guest::shared_common>},
    {"ZERO", 'Z', 6, Unit::bytes, "Zero MBytes", "of SHRD: zeros, which take no memory", of<&Guest::shared_zero>},
    {"SHRDSVD", 'V', 7, Unit::bytes, "Shared Saved MBytes", "saved by sharing", of<&Guest::shared_saved>},
    {"SWCUR", 'S', 6, Unit::bytes, "Swapped MBytes", "only in its swap file", of<&Guest::swapped>},
    {"SWTGT", ' ', 6, Unit::bytes, "Swap Target MBytes", "what the host would have in its swap file",
     of<&Guest::swap_target>},
    {"SWR/s", 'R', 6, Unit::bytes_per_second, "Swap Read MBytes/sec", "read back from its swap file",
     rate<&GuestRates::swapped_in>},
    {"SWW/s", 'W', 6, Unit::bytes_per_second, "Swap Written MBytes/sec", "left memory for its swap file",
     rate<&GuestRates::swapped_out>},
    {"FLT/s", 'F', 6, Unit::per_second, "Faults/sec", "faults that libvmm answered", rate<&GuestRates::faults>},
    {"NHN", 'H', 4, Unit::node, "NUMA Home Node", "NUMA node it is at home on", home_node},
    {"NMIG", 'I', 5, Unit::count, "NUMA Migrations", "times it was given another home node", of<&Guest::migrations>},
    {"NLMEM", ' ', 6, Unit::bytes, "NUMA Local MBytes", "resident on its home node", of<&Guest::local>},
    {"NRMEM", ' ', 6, Unit::bytes, "NUMA Remote MBytes", "resident on other nodes", of<&Guest::remote>},
    {"N%L", 'L', 4, Unit::percent, "NUMA % Local", "part of its resident memory that is local", local_percent},
    {"OVHD", 'O', 6, Unit::bytes, "Overhead MBytes", "tables and seats that it costs besides", of<&Guest::overhead>},
};

}  // namespace

std::span<const Column> columns() { return kColumns; }

std::string cell_text(const Column& column, const Row& row) {
  const Value value = column.value(row);
  if (!value) return "-";
  switch (column.unit) {
    case Unit::bytes: return bytes_text(static_cast<std::uint64_t>(*value));
    case Unit::bytes_per_second: return rate_text(*value);
    case Unit::per_second:
    case Unit::count: return count_text(*value);
    case Unit::percent: return std::to_string(static_cast<int>(*value));
    case Unit::node: return *value < 0 ? "-" : std::to_string(static_cast<int>(*value));
    case Unit::balloon: return *value == 0 ? "N" : *value == 1 ? "!" : "Y";
  }
  return {};
}

}  // namespace vmmctl
