// vmmctl record: a host's figures and events as JSON lines.
//
// A line {"wall_time_ms", "stats", "events", "lost"} for each moment, and "restarted" where another host has taken the
// place of the one before; {"wall_time_ms", "error"} where the host did not answer and was asked again; and a last one
// {"wall_time_ms", "end"} that says why there are no more. A record without that was cut off.
// Thread-safety: one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "sampler.h"

namespace vmmctl {

struct RecordOptions {
  std::chrono::nanoseconds interval = std::chrono::seconds(1);
  std::uint64_t count = 0;  // samples; 0 = until the host ends or a signal comes
};

// Hands each line, '\n' included, to `write`, whose failure ends it. The host's end and signals are no failure, unless
// the host cannot be asked at all.
Result<void> record(const std::string& socket_path, const RecordOptions& options,
                    const std::function<Result<void>(const std::string&)>& write);

std::string record_line(const Sample& sample, std::int64_t wall_time_ms);

}  // namespace vmmctl
