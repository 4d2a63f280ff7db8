// vmmctl reclaim, restore, rehome, share, set: what a host is told to do.
// Thread-safety: any thread.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "failure.h"

namespace vmmctl {

// "4096", "512K", "1.5G", "2GiB": bytes; units are powers of 1024. Errors: FailureKind::usage.
Result<std::uint64_t> parse_bytes(const std::string& text);

// "/control/<verb>?name=value&...", values encoded.
std::string control_target(const std::string& verb, const std::vector<std::pair<std::string, std::string>>& values);

// `words` are "field=value"; of fields that are sizes the value may have a unit. The first word may be a guest's name
// instead: without one it is the host that is changed. Errors: FailureKind::usage naming the word.
Result<std::string> set_target(std::string guest, const std::vector<std::string>& words);

// The host's answer in words.
std::string control_text(const nlohmann::json& answer);

}  // namespace vmmctl
