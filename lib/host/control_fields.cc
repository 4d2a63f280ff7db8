// The fields of the verb `set`, by their names in GuestChange and HostChange; times are in milliseconds and say so.
#include <chrono>
#include <cmath>
#include <optional>
#include <type_traits>

#include "base/error.h"
#include "base/read_number.h"
#include "base/text.h"
#include "host/control_verbs.h"

namespace vmm::host {
namespace {

// What a text says, if it says one.
bool parse(std::string_view text, std::uint32_t& value) { return base::read_number(text, value); }
bool parse(std::string_view text, std::uint64_t& value) { return base::read_number(text, value); }
bool parse(std::string_view text, double& value) { return base::read_number(text, value) && std::isfinite(value); }
bool parse(std::string_view text, bool& value) {
  value = text == "true" || text == "1";
  return value || text == "false" || text == "0";
}
bool parse(std::string_view text, std::string& value) {
  value = text;
  return true;
}
bool parse(std::string_view text, std::chrono::milliseconds& value) {
  std::uint64_t ms = 0;
  constexpr std::uint64_t kMost = 1'000'000'000'000;  // thirty years
  if (!parse(text, ms) || ms > kMost) return false;
  value = std::chrono::milliseconds(ms);
  return true;
}
bool parse(std::string_view text, Shares& value) {
  std::uint64_t count = 0;
  if (text == "low")
    value = Shares::low();
  else if (text == "normal")
    value = Shares::normal();
  else if (text == "high")
    value = Shares::high();
  else if (parse(text, count))
    value = Shares::custom(count);
  else
    return false;
  return true;
}
bool parse(std::string_view text, MemoryLadder& value) {
  value = text == "sliding" ? MemoryLadder::sliding : MemoryLadder::classic;
  return text == "sliding" || text == "classic";
}
bool parse(std::string_view text, std::vector<int>& value) {
  auto nodes = base::parse_list(text);
  if (nodes) value = std::move(*nodes);
  return nodes.has_value();
}

template <class Value>
Value initial() {
  if constexpr (std::is_same_v<Value, Shares>)
    return Shares::normal();
  else
    return Value{};
}

template <class Change>
struct Field {
  const char* name;
  bool (*set)(Change& change, std::string_view value);
  const char* remedy;
};

template <class Change, auto member>
bool set_member(Change& change, std::string_view text) {
  using Value = typename std::remove_reference_t<decltype(change.*member)>::value_type;
  auto value = initial<Value>();
  if (!parse(text, value)) return false;
  change.*member = std::move(value);
  return true;
}

constexpr const char* kBytes = "give bytes, a whole number";
constexpr const char* kNumber = "give a whole number";
constexpr const char* kReal = "give a number";
constexpr const char* kMs = "give milliseconds, a whole number";
constexpr const char* kYesNo = "give true or false";

constexpr Field<GuestChange> kGuestFields[] = {
    {"limit", set_member<GuestChange, &GuestChange::limit>, kBytes},
    {"reservation", set_member<GuestChange, &GuestChange::reservation>, kBytes},
    {"shares", set_member<GuestChange, &GuestChange::shares>, "give a count, or low, normal or high"},
    {"pool", set_member<GuestChange, &GuestChange::pool>, ""},
    {"idle_tax", set_member<GuestChange, &GuestChange::idle_tax>, kReal},
    {"balloon_max", set_member<GuestChange, &GuestChange::balloon_max>, kBytes},
    {"node_affinity", set_member<GuestChange, &GuestChange::node_affinity>, "give nodes as 0,2-3"},
    {"rebalance", set_member<GuestChange, &GuestChange::rebalance>, kYesNo},
};

constexpr Field<HostChange> kHostFields[] = {
    {"memory", set_member<HostChange, &HostChange::memory>, kBytes},
    {"min_free", set_member<HostChange, &HostChange::min_free>, kReal},
    {"memory_ladder", set_member<HostChange, &HostChange::memory_ladder>, "give classic or sliding"},
    {"balance_period_ms", set_member<HostChange, &HostChange::balance_period>, kMs},
    {"idle_tax", set_member<HostChange, &HostChange::idle_tax>, kReal},
    {"sample_pages", set_member<HostChange, &HostChange::sample_pages>, kNumber},
    {"sample_period_ms", set_member<HostChange, &HostChange::sample_period>, kMs},
    {"balloon_max_percent", set_member<HostChange, &HostChange::balloon_max_percent>, kNumber},
    {"balloon_timeout_ms", set_member<HostChange, &HostChange::balloon_timeout>, kMs},
    {"stop_timeout_ms", set_member<HostChange, &HostChange::stop_timeout>, kMs},
    {"rebalance", set_member<HostChange, &HostChange::rebalance>, kYesNo},
    {"migration_rate_max", set_member<HostChange, &HostChange::migration_rate_max>, kReal},
    {"share_scan_ghz", set_member<HostChange, &HostChange::share_scan_ghz>, kReal},
    {"share_scan_time_ms", set_member<HostChange, &HostChange::share_scan_time>, kMs},
    {"share_rate_max", set_member<HostChange, &HostChange::share_rate_max>, kNumber},
};

template <class Change, std::size_t N>
Result<Change> change_of(const Fields& fields, const Field<Change> (&known)[N]) {
  Change change;
  bool any = false;
  for (const auto& [name, value] : fields) {
    if (name == "guest") continue;
    const Field<Change>* field = nullptr;
    std::string names;
    for (const auto& f : known) {
      if (name == f.name) field = &f;
      names += std::string(names.empty() ? "" : ", ") + f.name;
    }
    if (field == nullptr) return base::invalid("set: " + name + " = " + value + ": no such field", "give " + names);
    if (!field->set(change, value)) return base::invalid("set: " + name + " = " + value, field->remedy);
    any = true;
  }
  if (!any) return base::invalid("set without a field", "give what is to change");
  return change;
}

}  // namespace

Result<GuestChange> guest_change(const Fields& fields) { return change_of(fields, kGuestFields); }
Result<HostChange> host_change(const Fields& fields) { return change_of(fields, kHostFields); }

}  // namespace vmm::host
