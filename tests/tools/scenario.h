// Scenario: a host and guests as they might be: work comes and goes, memory gets short, balloons and swap answer. Not a
// model of libvmm: figures that are plausible and add up, for what shows figures.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "fake_host.h"

namespace fake {

class Scenario {
 public:
  struct Options {
    std::size_t guests = 6;
    std::size_t nodes = 2;
    std::int64_t pid = 4242;
    std::int64_t wall_time_ms = 1'764'500'000'000;
    double overcommit = 1.8;
    double withheld = 0;  // part of the budget that the control group lacks, in every other half minute
  };
  Scenario() : Scenario(Options()) {}
  explicit Scenario(const Options& options);

  // A second passes.
  void step();
  // As /stats.json, /events.json?since= and / answer.
  nlohmann::json stats() const;
  nlohmann::json events(std::uint64_t since) const;
  nlohmann::json info() const;
  // A line of a record of this moment, with the events of the last step.
  nlohmann::json record_line() const;
  // Answers GETs; a look at the statistics lets a second pass.
  FakeHost::Handler handler();

  void rename(std::size_t guest, const std::string& name) { guests_[guest].name = name; }

 private:
  struct Guest {
    std::string name;
    std::string pool;
    std::uint64_t memory, touched, resident, ballooned = 0, swapped = 0, shared = 0, target = 0, active = 0;
    std::uint64_t balloon_max = 0, balloon_target = 0, local = 0;
    std::uint64_t fills = 0, rescues = 0, swap_ins = 0, swapped_in = 0, swapped_out = 0, popped = 0, migrations = 0;
    std::uint64_t stops = 0, migrated = 0;
    int home = 0;
    double phase = 0, speed = 1;
  };
  void event(const std::string& kind, const std::string& guest, std::uint64_t bytes, const std::string& mechanism,
             const std::string& reason);
  std::uint64_t consumed() const;
  std::uint64_t withheld() const;
  std::uint64_t free() const;
  std::string state() const;
  void work(Guest& guest);
  void reclaim(Guest& guest, std::uint64_t wanted);

  Options options_;
  std::mt19937_64 random_{42};
  std::uint64_t seconds_ = 0, budget_ = 0;
  std::string last_state_ = "high";
  std::vector<Guest> guests_;
  std::vector<nlohmann::json> events_;
  std::size_t events_before_step_ = 0;
};

}  // namespace fake
