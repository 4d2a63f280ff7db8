// vmmctl report: a record as one HTML page that needs nothing else.
// Thread-safety: one thread.
#pragma once

#include <istream>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "record_data.h"

namespace vmmctl {

// Reads a record; lines that are none are skipped and named in `warnings`, by number. Errors: FailureKind::garbage (no
// line of it is a sample).
Result<RecordData> read_record(std::istream& stream, std::vector<std::string>& warnings);

// What the page draws.
nlohmann::json report_json(const RecordData& data);
std::string report_page(const RecordData& data);

// JSON that cannot end the element it stands in.
std::string json_for_html(const nlohmann::json& document);

}  // namespace vmmctl
