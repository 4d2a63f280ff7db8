#include "snapshot.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "text.h"

namespace vmmctl {
namespace {

using nlohmann::json;

const json* member(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(name);
  return at != object.end() ? &*at : nullptr;
}

std::uint64_t unsigned_of(const json& object, const char* name) {
  const json* value = member(object, name);
  if (value == nullptr || !value->is_number_integer()) return 0;
  // A negative number is no figure of this kind.
  if (!value->is_number_unsigned() && value->get<std::int64_t>() < 0) return 0;
  return value->get<std::uint64_t>();
}

std::int64_t signed_of(const json& object, const char* name, std::int64_t otherwise) {
  const json* value = member(object, name);
  return value != nullptr && value->is_number_integer() ? value->get<std::int64_t>() : otherwise;
}

bool bool_of(const json& object, const char* name) {
  const json* value = member(object, name);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

std::string string_of(const json& object, const char* name) {
  const json* value = member(object, name);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

template <class T>
struct Field {
  const char* name;
  std::uint64_t T::*place;
};

#define VMMCTL_FIELD(type, name) \
  Field<type> { #name, &type::name }

constexpr std::array kGuestFields{
    VMMCTL_FIELD(Guest, memory),        VMMCTL_FIELD(Guest, reservation),    VMMCTL_FIELD(Guest, limit),
    VMMCTL_FIELD(Guest, resident),      VMMCTL_FIELD(Guest, swapped),        VMMCTL_FIELD(Guest, swap_target),
    VMMCTL_FIELD(Guest, lost),          VMMCTL_FIELD(Guest, granted),        VMMCTL_FIELD(Guest, balloon_pops),
    VMMCTL_FIELD(Guest, ballooned),     VMMCTL_FIELD(Guest, balloon_target), VMMCTL_FIELD(Guest, balloon_max),
    VMMCTL_FIELD(Guest, target),        VMMCTL_FIELD(Guest, overhead),       VMMCTL_FIELD(Guest, active),
    VMMCTL_FIELD(Guest, active_error),  VMMCTL_FIELD(Guest, pinned),         VMMCTL_FIELD(Guest, shared),
    VMMCTL_FIELD(Guest, shared_zero),   VMMCTL_FIELD(Guest, shared_common),  VMMCTL_FIELD(Guest, shared_saved),
    VMMCTL_FIELD(Guest, swapped_in),    VMMCTL_FIELD(Guest, swapped_out),    VMMCTL_FIELD(Guest, swap_written),
    VMMCTL_FIELD(Guest, ballooned_out), VMMCTL_FIELD(Guest, balloon_popped), VMMCTL_FIELD(Guest, migrated),
    VMMCTL_FIELD(Guest, faults),        VMMCTL_FIELD(Guest, fills),          VMMCTL_FIELD(Guest, rescues),
    VMMCTL_FIELD(Guest, swap_ins),      VMMCTL_FIELD(Guest, swap_errors),    VMMCTL_FIELD(Guest, stalls),
    VMMCTL_FIELD(Guest, stops),         VMMCTL_FIELD(Guest, stopped_ns),     VMMCTL_FIELD(Guest, migrations),
    VMMCTL_FIELD(Guest, shares),        VMMCTL_FIELD(Guest, local),          VMMCTL_FIELD(Guest, remote),
    VMMCTL_FIELD(Guest, id)};

constexpr std::array kHostFields{
    VMMCTL_FIELD(Snapshot, time_ns),      VMMCTL_FIELD(Snapshot, memory),        VMMCTL_FIELD(Snapshot, consumed),
    VMMCTL_FIELD(Snapshot, free),         VMMCTL_FIELD(Snapshot, overhead),      VMMCTL_FIELD(Snapshot, reserved),
    VMMCTL_FIELD(Snapshot, swapped),      VMMCTL_FIELD(Snapshot, ballooned),     VMMCTL_FIELD(Snapshot, shared),
    VMMCTL_FIELD(Snapshot, shared_zero),  VMMCTL_FIELD(Snapshot, shared_common), VMMCTL_FIELD(Snapshot, shared_saved),
    VMMCTL_FIELD(Snapshot, share_frames), VMMCTL_FIELD(Snapshot, min_free),      VMMCTL_FIELD(Snapshot, withheld)};

constexpr std::array kNodeFields{VMMCTL_FIELD(Node, processors), VMMCTL_FIELD(Node, guests), VMMCTL_FIELD(Node, memory),
                                 VMMCTL_FIELD(Node, free), VMMCTL_FIELD(Node, promised)};

constexpr std::array kPoolFields{VMMCTL_FIELD(Pool, shares), VMMCTL_FIELD(Pool, reservation),
                                 VMMCTL_FIELD(Pool, reserved), VMMCTL_FIELD(Pool, limit), VMMCTL_FIELD(Pool, consumed)};

constexpr std::array kLatencyFields{VMMCTL_FIELD(Latency, count), VMMCTL_FIELD(Latency, sum_ns),
                                    VMMCTL_FIELD(Latency, p50_ns), VMMCTL_FIELD(Latency, p99_ns),
                                    VMMCTL_FIELD(Latency, max_ns)};

#undef VMMCTL_FIELD

template <class T, std::size_t n>
void read_fields(const json& object, const std::array<Field<T>, n>& fields, T& into) {
  for (const auto& field : fields) into.*field.place = unsigned_of(object, field.name);
}

Latency latency_of(const json& object, const char* name) {
  Latency latency;
  if (const json* value = member(object, name)) read_fields(*value, kLatencyFields, latency);
  return latency;
}

Guest guest_of(const json& object) {
  Guest guest;
  guest.name = string_of(object, "name");
  guest.pool = string_of(object, "pool");
  read_fields(object, kGuestFields, guest);
  guest.home_node = signed_of(object, "home_node", -1);
  guest.managed = bool_of(object, "managed");
  guest.stopped = bool_of(object, "stopped");
  guest.balloon_distrusted = bool_of(object, "balloon_distrusted");
  guest.swap_failed = bool_of(object, "swap_failed");
  guest.fault_latency = latency_of(object, "fault_latency");
  guest.fill_latency = latency_of(object, "fill_latency");
  guest.rescue_latency = latency_of(object, "rescue_latency");
  guest.swap_in_latency = latency_of(object, "swap_in_latency");
  guest.pop_latency = latency_of(object, "pop_latency");
  guest.stop_latency = latency_of(object, "stop_latency");
  return guest;
}

Pool pool_of(const json& object) {
  Pool pool;
  pool.name = string_of(object, "name");
  read_fields(object, kPoolFields, pool);
  return pool;
}

Node node_of(const json& object) {
  Node node;
  node.id = signed_of(object, "id", -1);
  read_fields(object, kNodeFields, node);
  const json* load = member(object, "load");
  node.load = load != nullptr && load->is_number() ? load->get<double>() : 0;
  return node;
}

template <class T>
std::vector<T> list_of(const json& object, const char* name, T (*read)(const json&)) {
  std::vector<T> list;
  const json* elements = member(object, name);
  if (elements == nullptr || !elements->is_array()) return list;
  for (const json& element : *elements)
    if (element.is_object()) list.push_back(read(element));
  return list;
}

}  // namespace

const Guest* Snapshot::find(const std::string& name) const {
  const auto at = std::find_if(guests.begin(), guests.end(), [&](const Guest& guest) { return guest.name == name; });
  return at != guests.end() ? &*at : nullptr;
}

std::uint64_t Snapshot::sum(std::uint64_t Guest::*place) const {
  std::uint64_t total = 0;
  for (const Guest& guest : guests) total += guest.*place;
  return total;
}

std::uint64_t Snapshot::withheld_unused() const {
  return std::min(withheld, memory > consumed ? memory - consumed : 0);
}

Result<json> parse_json(const std::string& text) {
  // Deeper ones would be too much for what walks through them.
  constexpr int kMostDepth = 64;
  const auto shallow = [](int depth, json::parse_event_t, json&) { return depth <= kMostDepth; };
  json document = json::parse(valid_utf8(text), shallow, false);
  if (document.is_discarded())
    return fail(FailureKind::garbage, "not JSON: '" + plain_ascii(std::string_view(text).substr(0, 40)) + "'");
  return document;
}

Result<Snapshot> parse_snapshot(const json& document) {
  const json* guests = member(document, "guests");
  const json* memory = member(document, "memory");
  if (guests == nullptr || !guests->is_array() || memory == nullptr || !memory->is_number_integer())
    return fail(FailureKind::garbage, "not the statistics of a host: 'memory' or 'guests' is missing");
  Snapshot snapshot;
  read_fields(document, kHostFields, snapshot);
  snapshot.wall_time_ms = signed_of(document, "wall_time_ms", 0);
  snapshot.pid = signed_of(document, "pid", 0);
  snapshot.version = string_of(document, "version");
  snapshot.state = string_of(document, "state");
  snapshot.capability_level = string_of(document, "capability_level");
  snapshot.swap_io = string_of(document, "swap_io");
  snapshot.pools = list_of(document, "pools", pool_of);
  snapshot.guests = list_of(document, "guests", guest_of);
  snapshot.homes = list_of(document, "homes", node_of);
  return snapshot;
}

Event parse_event(const json& document) {
  Event event;
  event.sequence = unsigned_of(document, "sequence");
  event.time_ns = unsigned_of(document, "time_ns");
  event.bytes = unsigned_of(document, "bytes");
  event.kind = string_of(document, "kind");
  event.guest = string_of(document, "guest");
  event.mechanism = string_of(document, "mechanism");
  event.reason = string_of(document, "reason");
  return event;
}

Result<EventPage> parse_events(const json& document) {
  const json* events = member(document, "events");
  if (events == nullptr || !events->is_array()) return fail(FailureKind::garbage, "not the events of a host");
  EventPage page;
  page.next = unsigned_of(document, "next");
  page.lost = unsigned_of(document, "lost");
  page.events = list_of(document, "events", parse_event);
  return page;
}

}  // namespace vmmctl
