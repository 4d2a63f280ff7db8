#include "record.h"

#include "clock.h"
#include "json_text.h"

namespace vmmctl {
namespace {

using nlohmann::json;

std::string line_of(const json& document) { return json_text(document) + "\n"; }

std::string note_line(const char* name, const std::string& text) {
  return line_of({{"wall_time_ms", wall_time_ms()}, {name, text}});
}

}  // namespace

std::string record_line(const Sample& sample, std::int64_t wall_time) {
  json line{{"wall_time_ms", wall_time}, {"stats", sample.stats}, {"events", sample.events}, {"lost", sample.lost}};
  if (sample.restarted) line["restarted"] = true;
  return line_of(line);
}

Result<void> record(const std::string& socket_path, const RecordOptions& options,
                    const std::function<Result<void>(const std::string&)>& write) {
  const auto signals = Signals::create();
  if (!signals) return tl::unexpected(signals.error());
  Limits limits;
  limits.cancel = signals->descriptor();
  Sampler sampler(socket_path, limits);
  Ticker ticker(options.interval);
  for (std::uint64_t taken = 0;;) {
    const auto sample = sampler.next();
    if (sample) {
      if (auto written = write(record_line(*sample, wall_time_ms())); !written) return written;
      if (++taken == options.count) return write(note_line("end", "as many samples as were asked for"));
    } else if (sample.error().kind == FailureKind::cancelled) {
      // Without a sample there is no record, and an earlier one stays.
      if (taken == 0) return {};
      return write(note_line("end", "interrupted"));
    } else if (taken == 0) {
      return tl::unexpected(sample.error());
    } else if (sample.error().kind == FailureKind::gone || sample.error().kind == FailureKind::denied) {
      return write(note_line("end", "the host is gone: " + sample.error().message()));
    } else if (auto written = write(note_line("error", sample.error().message())); !written) {
      return written;
    }
    if (!ticker.wait(signals->descriptor())) return write(note_line("end", "interrupted"));
  }
}

}  // namespace vmmctl
