// The comparisons: each measures the library beside a peer and adds lines with bounds to the report.
// All may throw std::runtime_error: what they could not set up.
#pragma once

#include "support/report.h"
#include "support/settings.h"

namespace vmm::bench {

// A guest that runs natively against a plain mapping: first touch, random access, huge pages.
void compare_native(const Settings& settings, Report& report);
// A managed guest in a host with room against a plain mapping: first touch in order and scattered.
void compare_managed(const Settings& settings, Report& report);
// Zero fill and rescue against the least a program can do with userfaultfd.
void compare_faults(const Settings& settings, Report& report);
// Swap-out and sequential swap-in against the raw file system and against the kernel's swap.
void compare_swap(const Settings& settings, Report& report);
// Random swap-in against random reads of the raw file.
void compare_random_swap_in(const Settings& settings, Report& report);
// What the library's own memory adds to a guest.
void measure_metadata(const Settings& settings, Report& report);
// What Host::stats() takes beside the kernel's sum of the process, and what export costs.
void measure_stats(const Settings& settings, Report& report);
// How far the memory of a process goes over the budget of its host, seen from outside.
void measure_budget(const Settings& settings, Report& report);
// How long planning of rebalancing takes for a large host.
void measure_rebalance(const Settings& settings, Report& report);
// What guests get of the processors by their shares.
void measure_cpu_weights(const Settings& settings, Report& report);
// The process that measure_budget looks at. Returns its exit status.
int run_budget_load(int argc, char** argv);

// Memory that follows a guest to another node against the bare system call.
void compare_migration(const Settings& settings, Report& report);
// Equal pages found and shared by the library against the kernel's page merging, the same pages in turn.
void compare_sharing(const Settings& settings, Report& report);
// First writes to shared pages against merged ones, and the work of databases that are looked at against such that are
// not.
void measure_sharing_cost(const Settings& settings, Report& report);
// What homes are worth on a machine of several nodes.
void measure_numa(const Settings& settings, Report& report);

// Memory taken from a heap's guest by balloon against the same taken by swap, and against a guest created that size.
void compare_balloon(const Settings& settings, Report& report);

// The demonstration's databases in guests against the same in plain memory under the kernel's swap and page merging.
void compare_overcommit(const Settings& settings, Report& report);
// The process that compare_overcommit measures. Returns its exit status.
int run_overcommit_load(int argc, char** argv);

// Unmodified programs in half of the memory they use, by vmmctl run, against a control group and the kernel's swap.
void compare_run(const Settings& settings, Report& report);

}  // namespace vmm::bench
