// Options: what the command line asks for.
// Thread-safety: plain values; parse_options() uses getopt and belongs to one thread.
#pragma once

#include <cstdint>
#include <string>

#include "outcome.h"
#include "vmm/options.h"

namespace tenants {

struct Options {
  std::uint64_t guests = 6;
  std::uint64_t size = 96 * vmm::MiB;       // bytes of rows to load, per guest
  std::uint64_t reference = 16 * vmm::MiB;  // bytes of reference rows, the same in each
  std::uint64_t budget = 0;                 // bytes for all guests; parse_options() sets it from the percentage
  std::uint64_t seconds = 12;               // of transactions after loading
  std::uint64_t seed = 1;
  std::uint64_t production = 0;  // guests in the pool /production, the others are in /batch; parse_options() sets it
  vmm::Shares production_shares = vmm::Shares::high();  // of the pools
  vmm::Shares batch_shares = vmm::Shares::low();
  vmm::Isolation isolation = vmm::Isolation::automatic;
  vmm::SwapIo swap_io = vmm::SwapIo::automatic;
  std::string swap_directory;  // empty = the library's default
  // HostOptions::share_scan_ghz; 0: nothing is shared. The reference rows are to be found within seconds.
  double share_scan_ghz = 64;
  std::string stats_socket;  // HostOptions::stats_socket; parse_options() sets it to one in $TMPDIR or /tmp
  bool help = false;
};

// Errors name the flag, its value and the remedy.
Outcome<Options> parse_options(int argc, char* const argv[]);

// The text of --help.
std::string usage(const char* program);

}  // namespace tenants
