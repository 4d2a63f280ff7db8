// Sampler: the figures of one host again and again, and the events between; it notices when the host is another.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "host_client.h"

namespace vmmctl {

struct Sample {
  // As the host has sent them.
  nlohmann::json stats;
  nlohmann::json events;   // the array
  std::uint64_t lost = 0;  // events overwritten since the last sample
  bool restarted = false;  // not the host of the sample before: its counters begin anew
};

class Sampler {
 public:
  Sampler(std::string socket_path, Limits limits) : client_(std::move(socket_path), limits) {}

  const std::string& path() const { return client_.path(); }
  // Errors: as HostClient.
  Result<Sample> next();

 private:
  void restart();

  HostClient client_;
  std::uint64_t since_ = 0;
  std::int64_t pid_ = 0;
  std::uint64_t started_ns_ = 0;
  bool known_ = false;      // who it is
  bool restarted_ = false;  // since the last sample
};

}  // namespace vmmctl
