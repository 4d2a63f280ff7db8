#include "scenario.h"

#include <algorithm>
#include <cmath>

namespace fake {
namespace {

using nlohmann::json;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kOverhead = 3 * kMiB;     // of a guest
constexpr std::uint64_t kStart = 90'000'000'000;  // CLOCK_MONOTONIC when the host was made

std::uint64_t pages(double bytes) { return bytes <= 0 ? 0 : static_cast<std::uint64_t>(bytes) / kPage * kPage; }

json latency(std::uint64_t count, std::uint64_t typical) {
  return {{"count", count},
          {"sum_ns", count * typical * 2},
          {"p50_ns", typical},
          {"p99_ns", typical * 6},
          {"max_ns", typical * 40}};
}

}  // namespace

Scenario::Scenario(const Options& options) : options_(options) {
  constexpr const char* kNames[] = {"orders-db", "search", "web-1", "web-2", "reports", "analytics", "cache", "mail"};
  std::uint64_t size = 0;
  for (std::size_t i = 0; i < options.guests; ++i) {
    Guest guest{};
    guest.name = i < std::size(kNames) ? kNames[i] : "guest-" + std::to_string(i);
    guest.pool = i % 3 == 2 ? "/batch" : "/production";
    guest.memory = (512 + 256 * (i * 7 % 5)) * kMiB;
    guest.touched = guest.memory / 4;
    guest.resident = guest.touched;
    guest.balloon_max = i % 4 == 3 ? 0 : pages(0.65 * static_cast<double>(guest.memory));
    guest.home = static_cast<int>(i % options.nodes);
    guest.phase = static_cast<double>(i) * 1.3;
    guest.speed = 0.03 + 0.01 * static_cast<double>(i % 4);
    guest.speed += 0.004;
    guest.local = guest.resident;
    size += guest.memory;
    guests_.push_back(guest);
  }
  budget_ = pages(static_cast<double>(size) / options.overcommit);
  for (const Guest& guest : guests_)
    event("guest_created", guest.name, guest.memory, "placement",
          "node " + std::to_string(guest.home) + " has the least load");
  step();
  events_before_step_ = 0;
}

std::uint64_t Scenario::consumed() const {
  std::uint64_t sum = 16 * kMiB;
  for (const Guest& guest : guests_) sum += guest.resident + kOverhead + guest.shared / 4 / kPage * kPage;
  return sum;
}

std::uint64_t Scenario::withheld() const {
  return seconds_ / 30 % 2 == 1 ? pages(options_.withheld * static_cast<double>(budget_)) : 0;
}

std::uint64_t Scenario::free() const {
  const std::uint64_t gone = withheld() + consumed();
  return budget_ > gone ? budget_ - gone : 0;
}

std::string Scenario::state() const {
  const double free = static_cast<double>(this->free()) / static_cast<double>(budget_);
  const bool was_high = last_state_ == "high";
  return free >= (was_high ? 0.06 : 0.075) ? "high" : free >= 0.04 ? "soft" : free >= 0.01 ? "hard" : "low";
}

void Scenario::event(const std::string& kind, const std::string& guest, std::uint64_t bytes,
                     const std::string& mechanism, const std::string& reason) {
  events_.push_back({{"sequence", events_.size()},
                     {"time_ns", kStart + seconds_ * 1'000'000'000},
                     {"kind", kind},
                     {"guest", guest},
                     {"bytes", bytes},
                     {"mechanism", mechanism},
                     {"reason", reason}});
}

void Scenario::work(Guest& guest) {
  const double wave = 0.5 + 0.5 * std::sin(guest.phase + static_cast<double>(seconds_) * guest.speed);
  const auto memory = static_cast<double>(guest.memory);
  guest.active = pages(memory * (0.15 + 0.65 * wave));
  const double noise = static_cast<double>(random_() % 1000) / 1000;
  // New memory, and what has to come back because it is used.
  const std::uint64_t fresh = std::min(guest.memory - guest.touched, pages(memory * 0.006 * wave * (0.5 + noise)));
  guest.touched += fresh;
  guest.resident += fresh;
  guest.fills += fresh / kPage / 8;
  const std::uint64_t lacks =
      guest.active > guest.resident + guest.shared ? guest.active - guest.resident - guest.shared : 0;
  const std::uint64_t back = std::min(guest.swapped, lacks / 8 / kPage * kPage);
  guest.swapped -= back;
  guest.resident += back;
  guest.swapped_in += back;
  guest.swap_ins += back / kPage / 12;
  guest.rescues += pages(memory * 0.0004 * noise) / kPage;
  const std::uint64_t pop = std::min(guest.ballooned, lacks / 16 / kPage * kPage);
  guest.ballooned -= pop;
  guest.resident += pop;
  guest.popped += pop;
  // Equal pages are found little by little.
  const std::uint64_t equal = pages(0.12 * static_cast<double>(guest.touched));
  const std::uint64_t more = std::min({equal > guest.shared ? equal - guest.shared : 0, guest.resident, 6 * kMiB});
  guest.shared += more;
  guest.resident -= more;
}

void Scenario::reclaim(Guest& guest, std::uint64_t wanted) {
  guest.balloon_target = guest.balloon_max > 0 ? std::min(guest.balloon_max, guest.ballooned + wanted) : 0;
  const std::uint64_t inflated = std::min(
      guest.balloon_target > guest.ballooned ? guest.balloon_target - guest.ballooned : 0, wanted / 2 / kPage * kPage);
  guest.ballooned += inflated;
  guest.resident -= inflated;
  if (inflated > 0) event("reclaimed", guest.name, inflated, "balloon", "state " + last_state_ + ": above its target");
  if (last_state_ != "soft" || guest.balloon_max == 0) {
    const std::uint64_t written = std::min(guest.resident, wanted - inflated);
    guest.resident -= written;
    guest.swapped += written;
    guest.swapped_out += written;
    if (written > 0) event("reclaimed", guest.name, written, "swap", "state " + last_state_ + ": above its target");
  }
  if (last_state_ == "low") {
    ++guest.stops;
    event("guest_stopped", guest.name, guest.resident - guest.target, "", "state low, and above its target");
  }
}

void Scenario::step() {
  ++seconds_;
  events_before_step_ = events_.size();
  double claims = 0;
  for (Guest& guest : guests_) {
    work(guest);
    claims += static_cast<double>(guest.active) + 0.25 * static_cast<double>(guest.memory);
  }
  for (Guest& guest : guests_) {
    const double claim = static_cast<double>(guest.active) + 0.25 * static_cast<double>(guest.memory);
    guest.target = std::min(guest.memory, pages(0.92 * static_cast<double>(budget_) * claim / claims));
  }
  if (state() != last_state_) {
    event("state_changed", "", free(), "", last_state_ + " to " + state());
    last_state_ = state();
  }
  if (last_state_ != "high")
    for (Guest& guest : guests_)
      if (guest.resident > guest.target)
        reclaim(guest, std::min<std::uint64_t>((guest.resident - guest.target) / 3, 48 * kMiB) / kPage * kPage);
  if (options_.nodes > 1 && seconds_ % 47 == 0) {
    Guest& guest = guests_[seconds_ / 47 % guests_.size()];
    guest.home = (guest.home + 1) % static_cast<int>(options_.nodes);
    guest.local = guest.resident / 8 / kPage * kPage;
    ++guest.migrations;
    event("guest_rehomed", guest.name, 0, "balance", "load of the nodes differed by 24 %");
  }
  for (Guest& guest : guests_) {
    guest.local = std::min(guest.local, guest.resident);
    const std::uint64_t follows = std::min<std::uint64_t>(guest.resident - guest.local, 24 * kMiB);
    guest.local += follows;
    if (guest.migrations > 0) guest.migrated += follows;
  }
}

json Scenario::stats() const {
  json guests = json::array();
  std::uint64_t swapped = 0, ballooned = 0, shared = 0, saved = 0, frames = 0;
  for (const Guest& guest : guests_) {
    const std::uint64_t common = guest.shared / 4 / kPage * kPage;
    swapped += guest.swapped;
    ballooned += guest.ballooned;
    shared += guest.shared;
    saved += guest.shared - common;
    frames += common;
    const std::uint64_t faults = guest.fills + guest.rescues + guest.swap_ins;
    guests.push_back({{"name", guest.name},
                      {"id", guests.size() + 1},
                      {"pool", guest.pool},
                      {"memory", guest.memory},
                      {"reservation", 0},
                      {"limit", 0},
                      {"resident", guest.resident},
                      {"shared", guest.shared},
                      {"shared_zero", guest.shared / 8 / kPage * kPage},
                      {"shared_common", common},
                      {"shared_saved", guest.shared - common},
                      {"swapped", guest.swapped},
                      {"swap_target", guest.resident > guest.target ? guest.resident - guest.target : 0},
                      {"ballooned", guest.ballooned},
                      {"balloon_target", guest.balloon_target},
                      {"balloon_max", guest.balloon_max},
                      {"target", guest.target},
                      {"overhead", kOverhead},
                      {"active", guest.active},
                      {"active_error", guest.memory / 20},
                      {"swapped_in", guest.swapped_in},
                      {"swapped_out", guest.swapped_out},
                      {"balloon_popped", guest.popped},
                      {"balloon_pops", guest.popped / kPage / 4},
                      {"granted", guest.resident + guest.shared},
                      {"faults", faults},
                      {"fills", guest.fills},
                      {"rescues", guest.rescues},
                      {"swap_ins", guest.swap_ins},
                      {"stops", guest.stops},
                      {"stopped", last_state_ == "low" && guest.resident > guest.target},
                      {"stopped_ns", guest.stops * 300'000'000},
                      {"home_node", guest.home},
                      {"migrations", guest.migrations},
                      {"migrated", guest.migrated},
                      {"local", guest.local},
                      {"remote", guest.resident - guest.local},
                      {"shares", guest.memory / kMiB * 10},
                      {"managed", true},
                      {"fault_latency", latency(faults, 14'000)},
                      {"swap_in_latency", latency(guest.swap_ins, 120'000)}});
  }
  json nodes = json::array();
  for (std::size_t i = 0; i < options_.nodes; ++i) {
    std::uint64_t homed = 0, promised = 0;
    for (const Guest& guest : guests_) {
      if (guest.home != static_cast<int>(i)) continue;
      ++homed;
      promised += guest.memory;
    }
    nodes.push_back({{"id", i},
                     {"processors", 8},
                     {"guests", homed},
                     {"load", 0.12 * static_cast<double>(homed) + 0.03 * static_cast<double>((seconds_ + i) % 5)},
                     {"memory", 16384 * kMiB},
                     {"free", 16384 * kMiB - promised / 2},
                     {"promised", promised}});
  }
  const std::uint64_t used = consumed();
  return {{"time_ns", kStart + seconds_ * 1'000'000'000},
          {"wall_time_ms", options_.wall_time_ms + static_cast<std::int64_t>(seconds_) * 1000},
          {"version", "0.1.0"},
          {"pid", options_.pid},
          {"memory", budget_},
          {"consumed", used},
          {"withheld", withheld()},
          {"free", free()},
          {"overhead", 16 * kMiB + guests_.size() * kOverhead},
          {"reserved", 0},
          {"swapped", swapped},
          {"ballooned", ballooned},
          {"shared", shared},
          {"shared_saved", saved},
          {"share_frames", frames},
          {"min_free", pages(0.06 * static_cast<double>(budget_))},
          {"state", last_state_},
          {"pools", json::array({{{"name", "/"}, {"consumed", used}}})},
          {"guests", guests},
          {"homes", nodes},
          {"capability_level", "full"},
          {"swap_io", "io_uring"}};
}

json Scenario::events(std::uint64_t since) const {
  json list = json::array();
  for (std::size_t i = since; i < events_.size(); ++i) list.push_back(events_[i]);
  return {{"next", events_.size()}, {"lost", 0}, {"events", list}};
}

json Scenario::info() const {
  return {{"name", "libvmm"}, {"version", "0.1.0"}, {"pid", options_.pid}, {"started_ns", kStart}, {"control", false}};
}

json Scenario::record_line() const {
  const json document = stats();
  json list = json::array();
  for (std::size_t i = events_before_step_; i < events_.size(); ++i) list.push_back(events_[i]);
  return {{"wall_time_ms", document["wall_time_ms"]}, {"stats", document}, {"events", list}, {"lost", 0}};
}

FakeHost::Handler Scenario::handler() {
  return [this](const std::string& method, const std::string& target) -> Answer {
    if (method == "GET" && target == "/") return json_answer(info());
    if (method == "GET" && target == "/stats.json") {
      step();
      return json_answer(stats());
    }
    constexpr std::string_view kEvents = "/events.json?since=";
    if (method == "GET" && target.starts_with(kEvents))
      return json_answer(events(std::stoull(target.substr(kEvents.size()))));
    if (method == "POST") return json_answer({{"error", "control verbs are not permitted on this socket"}}, 403);
    return json_answer({{"error", "there is no " + target}}, 404);
  };
}

}  // namespace fake
