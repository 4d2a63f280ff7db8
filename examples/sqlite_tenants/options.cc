#include "options.h"

#include <getopt.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cinttypes>
#include <cstdlib>
#include <filesystem>
#include <string_view>

namespace tenants {
namespace {

constexpr std::uint64_t kDefaultBudgetPercent = 60;
constexpr std::uint64_t kMostShares = 1'000'000'000;

constexpr std::array<option, 16> kFlags = {{
    {"guests", required_argument, nullptr, 'g'},
    {"size", required_argument, nullptr, 's'},
    {"reference", required_argument, nullptr, 'R'},
    {"share-scan-ghz", required_argument, nullptr, 'S'},
    {"budget", required_argument, nullptr, 'b'},
    {"seconds", required_argument, nullptr, 't'},
    {"seed", required_argument, nullptr, 'r'},
    {"production", required_argument, nullptr, 'p'},
    {"production-shares", required_argument, nullptr, 'P'},
    {"batch-shares", required_argument, nullptr, 'B'},
    {"isolation", required_argument, nullptr, 'i'},
    {"swap-io", required_argument, nullptr, 'o'},
    {"swap-dir", required_argument, nullptr, 'd'},
    {"stats-socket", required_argument, nullptr, 'u'},
    {"help", no_argument, nullptr, 'h'},
    {nullptr, 0, nullptr, 0},
}};

std::string bad(std::string_view flag, std::string_view value, std::string_view remedy) {
  return std::string(flag) + " \"" + std::string(value) + "\": " + std::string(remedy);
}

bool read_number(std::string_view text, std::uint64_t& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size();
}

Outcome<std::uint64_t> number(const char* flag, std::string_view text, std::uint64_t least, std::uint64_t most,
                              const char* what) {
  std::uint64_t value = 0;
  if (read_number(text, value) && value >= least && value <= most) return value;
  return fail(bad(flag, text, format("give %s, a whole number from %" PRIu64 " to %" PRIu64, what, least, most)));
}

Outcome<std::uint64_t> mebibytes(const char* flag, std::string_view text, std::uint64_t least, const char* what) {
  return number(flag, text, least, 1U << 16, what).map([](std::uint64_t mib) { return mib * vmm::MiB; });
}

bool strip(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

// "60%" of the rows' bytes, or "400" or "400MiB".
Outcome<std::uint64_t> budget(std::string_view text, std::uint64_t rows) {
  std::string_view digits = text;
  const bool percent = strip(digits, "%");
  if (!percent) strip(digits, "MiB");
  std::uint64_t value = 0;
  if (read_number(digits, value) && value >= 1) {
    if (percent && value <= 1000) return rows * value / 100;
    if (!percent && value <= (1U << 24)) return value * vmm::MiB;
  }
  return fail(bad("--budget", text,
                  "give a percentage of the rows loaded (1% to 1000%) or MiB for all guests together (1 to 16777216)"));
}

Outcome<vmm::Shares> shares(const char* flag, std::string_view text) {
  if (text == "low") return vmm::Shares::low();
  if (text == "normal") return vmm::Shares::normal();
  if (text == "high") return vmm::Shares::high();
  std::uint64_t count = 0;
  if (read_number(text, count) && count >= 1 && count <= kMostShares) return vmm::Shares::custom(count);
  return fail(bad(flag, text, format("give low, normal, high or a number from 1 to %" PRIu64, kMostShares)));
}

Outcome<vmm::Isolation> isolation(std::string_view text) {
  if (text == "automatic") return vmm::Isolation::automatic;
  if (text == "move") return vmm::Isolation::move;
  if (text == "write_protect") return vmm::Isolation::write_protect;
  return fail(bad("--isolation", text, "give automatic, move or write_protect"));
}

Outcome<vmm::SwapIo> swap_io(std::string_view text) {
  if (text == "automatic") return vmm::SwapIo::automatic;
  if (text == "io_uring") return vmm::SwapIo::io_uring;
  if (text == "threads") return vmm::SwapIo::threads;
  return fail(bad("--swap-io", text, "give automatic, io_uring or threads"));
}

template <class T, class Value>
Outcome<void> set(T& field, const Outcome<Value>& value) {
  if (!value) return fail(value.error());
  field = static_cast<T>(*value);
  return {};
}

Outcome<void> apply(Options& options, int flag, const char* value) {
  switch (flag) {
    case 'g': return set(options.guests, number("--guests", value, 1, 64, "the number of databases"));
    case 's': return set(options.size, mebibytes("--size", value, 1, "MiB of rows per guest"));
    case 'R': return set(options.reference, mebibytes("--reference", value, 0, "MiB of reference rows per guest"));
    case 'S':
      return set(options.share_scan_ghz,
                 number("--share-scan-ghz", value, 0, 1000, "MB/s looked at for each GHz of the processors"));
    case 't':
      return set(options.seconds, number("--seconds", value, 0, 86400, "the seconds of transactions after loading"));
    case 'r': return set(options.seed, number("--seed", value, 0, UINT64_MAX, "the seed of rows and operations"));
    case 'p':
      return set(options.production, number("--production", value, 0, 64, "the number of guests in /production"));
    case 'P': return set(options.production_shares, shares("--production-shares", value));
    case 'B': return set(options.batch_shares, shares("--batch-shares", value));
    case 'i': return set(options.isolation, isolation(value));
    case 'o': return set(options.swap_io, swap_io(value));
    case 'd':
      if (*value == '\0') return fail(bad("--swap-dir", value, "give the directory of the swap files"));
      options.swap_directory = value;
      return {};
    case 'u':
      if (*value == '\0') return fail(bad("--stats-socket", value, "give a path, or none"));
      options.stats_socket = std::string_view(value) == "none" ? "" : std::filesystem::absolute(value).string();
      return {};
    default: options.help = true; return {};
  }
}

std::string default_socket() {
  const char* named = secure_getenv("TMPDIR");
  const std::string name = format("/vmm-demo-%d.vmm", static_cast<int>(getpid()));
  // An address holds no more than this.
  constexpr std::size_t kMost = 107;
  const bool is_fit = named != nullptr && *named == '/' && std::string_view(named).size() + name.size() <= kMost;
  return (is_fit ? named : "/tmp") + name;
}

}  // namespace

Outcome<Options> parse_options(int argc, char* const argv[]) {
  Options options;
  constexpr std::uint64_t kTwoThirds = UINT64_MAX;  // of the guests, however many there will be
  options.production = kTwoThirds;
  options.stats_socket = default_socket();
  std::string budget_text = std::to_string(kDefaultBudgetPercent) + "%";
  // 0, not 1: also makes glibc forget an earlier parse. The leading ':' tells a missing value from an unknown flag.
  optind = 0;
  opterr = 0;
  while (true) {
    const int flag = getopt_long(argc, argv, ":h", kFlags.data(), nullptr);
    if (flag == -1) break;
    const char* given = argv[optind - 1];
    if (flag == '?')
      return fail(bad("flag", given, "unknown, ambiguous or given a value it does not take; see --help"));
    if (flag == ':') return fail(bad("flag", given, "needs a value; see --help"));
    if (flag == 'b') {
      budget_text = optarg;
      continue;
    }
    if (auto done = apply(options, flag, optarg); !done) return fail(done.error());
  }
  if (optind < argc) return fail(bad("argument", argv[optind], "only flags are expected; see --help"));
  if (options.production == kTwoThirds) options.production = (2 * options.guests + 1) / 3;
  if (options.production > options.guests)
    return fail(bad("--production", std::to_string(options.production),
                    format("there are %" PRIu64 " guests; give as many at most, or more --guests", options.guests)));
  if (auto done = set(options.budget, budget(budget_text, options.guests * options.size)); !done)
    return fail(done.error());
  return options;
}

std::string usage(const char* program) {
  const Options defaults;
  return format(
      "Usage: %s [flags]\n"
      "Runs SQLite databases in guests that are together larger than the host's memory, and compares\n"
      "each at the end with the same operations done on ordinary memory.\n\n"
      "  --guests N        databases, one per guest (%" PRIu64
      ")\n"
      "  --size MIB        MiB of rows loaded into each (%" PRIu64
      ")\n"
      "  --reference MIB   MiB of reference rows, the same in each database and read with its rows (%" PRIu64
      ")\n"
      "  --share-scan-ghz N\n"
      "                    MB/s for each GHz of the processors at which equal pages are looked for, so that\n"
      "                    the databases show one copy; 0: nothing is shared (%.0f)\n"
      "  --budget N%%|MIB   memory of all guests together: percent of the rows, or MiB (%" PRIu64
      "%%)\n"
      "  --seconds N       how long transactions run after loading (%" PRIu64
      ")\n"
      "  --seed N          seed of rows and operations (%" PRIu64
      ")\n"
      "  --production N    guests in the pool /production, the others are in /batch (two thirds)\n"
      "  --production-shares S, --batch-shares S\n"
      "                    low, normal, high or a number: the pools' claims to memory (high, low)\n"
      "  --isolation HOW   automatic, move or write_protect: how pages leave a guest (automatic)\n"
      "  --swap-io HOW     automatic, io_uring or threads (automatic)\n"
      "  --swap-dir DIR    where the swap files are ($TMPDIR, else /var/tmp)\n"
      "  --stats-socket PATH\n"
      "                    where `vmmctl top` and curl read statistics meanwhile; none: nowhere\n"
      "                    ($TMPDIR or /tmp, vmm-demo-PID.vmm)\n"
      "  --help            this text\n\n"
      "Ctrl-C ends the transactions early; the databases are still checked. A second one quits.\n"
      "Exit status: 0 all equal, 1 a database differs, 2 it could not be run.\n",
      program, defaults.guests, defaults.size / vmm::MiB, defaults.reference / vmm::MiB, defaults.share_scan_ghz,
      kDefaultBudgetPercent, defaults.seconds, defaults.seed);
}

}  // namespace tenants
