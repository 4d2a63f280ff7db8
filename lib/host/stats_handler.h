// StatsHandler: what is at which path of a host's socket: statistics and events, and the verbs of control.
// Thread-safety: any thread.
#pragma once

#include <cstdint>

#include "host/stats_server.h"

namespace vmm {
class HostCore;
}

namespace vmm::host {

class StatsHandler final : public HttpHandler {
 public:
  // `host` outlives it. `control`: verbs are permitted.
  StatsHandler(HostCore& host, bool control, std::uint64_t started_ns) noexcept
      : host_(host), control_(control), started_ns_(started_ns) {}
  bool takes_long(const HttpRequest& request) override;
  HttpReply answer(const HttpRequest& request) override;

 private:
  HttpReply about() const;
  HttpReply events(const HttpRequest& request);

  HostCore& host_;
  const bool control_;
  const std::uint64_t started_ns_;
};

}  // namespace vmm::host
