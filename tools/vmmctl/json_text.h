// JSON as text that can go to a file and to a terminal alike.
// Thread-safety: pure functions.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace vmmctl {

// Valid whatever its strings hold: what is no UTF-8 becomes U+FFFD, and no control character is written as it is, those
// of C1 (U+0080 to U+009F) and U+007F neither, which JSON would permit and terminals obey. In one line with an `indent`
// below 0.
std::string json_text(const nlohmann::json& document, int indent = -1);

}  // namespace vmmctl
