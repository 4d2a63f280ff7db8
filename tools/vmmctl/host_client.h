// HostClient: what a running host tells over its socket.
// Thread-safety: one thread at a time.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "http.h"
#include "snapshot.h"

namespace vmmctl {

// Who answers there.
struct HostInfo {
  std::string version;
  std::int64_t pid = 0;
  std::uint64_t started_ns = 0;
  bool control = false;  // control verbs are permitted
};

class HostClient {
 public:
  explicit HostClient(std::string socket_path, Limits limits = {}) : path_(std::move(socket_path)), limits_(limits) {}

  const std::string& path() const { return path_; }

  // Errors: as request(), and those of answers: FailureKind::garbage, refused (any status but 200; the host's words).
  Result<HostInfo> info() const;
  Result<nlohmann::json> stats() const { return get("/stats.json"); }
  // Those of a sequence number from `since` on.
  Result<nlohmann::json> events(std::uint64_t since) const;
  Result<nlohmann::json> get(const std::string& target) const { return ask("GET", target); }
  Result<nlohmann::json> post(const std::string& target) const { return ask("POST", target); }

 private:
  Result<nlohmann::json> ask(std::string_view method, const std::string& target) const;

  std::string path_;
  Limits limits_;
};

}  // namespace vmmctl
