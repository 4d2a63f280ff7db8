// top and record: what looks at a host again and again.
#include <unistd.h>

#include <array>
#include <cmath>
#include <memory>

#include "batch.h"
#include "clock.h"
#include "commands.h"
#include "find_hosts.h"
#include "output.h"
#include "record.h"
#include "top.h"

namespace vmmctl {
namespace {

struct Options {
  std::string socket;
  double seconds = 0;
  std::uint64_t count = 0;
  bool batch = false;
  std::string output;
};

std::chrono::milliseconds interval_of(const Options& options) {
  return std::chrono::milliseconds(std::llround(options.seconds * 1000));
}

void add_common(CLI::App& command, Options& options, double seconds) {
  options.seconds = seconds;
  command.add_option("--socket,socket", options.socket,
                     "the host's socket, or the id of its process; else $VMM_SOCKET, else the host that runs");
  command.add_option("-d,--delay", options.seconds, "seconds between two looks")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command.add_option("-n,--count", options.count, "so many looks; without: until the host ends")
      ->check(CLI::PositiveNumber);
}

std::string machine_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

Result<void> run_batch(const Options& options) {
  const auto socket = resolve_socket(options.socket);
  if (!socket) return tl::unexpected(socket.error());
  const auto signals = Signals::create();
  if (!signals) return tl::unexpected(signals.error());
  auto output = Output::open("");
  Limits limits;
  limits.cancel = signals->descriptor();
  Sampler sampler(*socket, limits);
  Batch batch(machine_name());
  Ticker ticker(interval_of(options));
  for (std::uint64_t taken = 0;;) {
    const auto sample = sampler.next();
    const auto snapshot = sample ? parse_snapshot(sample->stats) : tl::unexpected(sample.error());
    if (!snapshot) {
      if (snapshot.error().kind == FailureKind::cancelled) return {};
      if (taken > 0 && snapshot.error().kind == FailureKind::gone) {
        warn("the host is gone: " + snapshot.error().message());
        return {};
      }
      if (taken == 0 || snapshot.error().kind == FailureKind::denied) return tl::unexpected(snapshot.error());
      warn(snapshot.error().message());
    } else {
      if (auto written = output->write(batch.lines(*snapshot, sample->restarted)); !written) return written;
      if (++taken == options.count) return {};
    }
    if (!ticker.wait(signals->descriptor())) return {};
  }
}

Result<void> run_record(const Options& options) {
  const auto socket = resolve_socket(options.socket);
  if (!socket) return tl::unexpected(socket.error());
  auto output = Output::open(options.output);
  if (!output) return tl::unexpected(output.error());
  return record(*socket, {interval_of(options), options.count},
                [&](const std::string& line) { return output->write(line); });
}

}  // namespace

void add_top(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("top", "a running host and its guests, as esxtop shows them");
  add_common(*command, *options, 2);
  command->add_flag("-b,--batch", options->batch, "CSV on standard output, in the form of esxtop's batch mode");
  command->callback([options, command, &status] {
    if (!options->batch && command->count("-n") > 0) {
      status = complain({FailureKind::usage, "-n is for top --batch"});
      return;
    }
    const auto done = options->batch ? run_batch(*options) : top({options->socket, interval_of(*options)});
    status = done ? kSuccess : complain(done.error());
  });
}

void add_record(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("record", "write a host's figures and events as JSON lines");
  add_common(*command, *options, 1);
  command->add_option("-o,--output", options->output, "a file; without: standard output");
  command->callback([options, &status] {
    const auto done = run_record(*options);
    status = done ? kSuccess : complain(done.error());
  });
}

}  // namespace vmmctl
