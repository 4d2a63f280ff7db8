// NodeRuntime: what runs for one NUMA node: its fault thread with the reader of swap files, its worker with the
// writer, and its pool of zeroed pages.
// Thread-safety: built and taken apart by one thread; the parts are thread-safe as they say.
#pragma once

#include <atomic>
#include <memory>

#include "host/arbiter.h"
#include "host/sharing_parts.h"
#include "host/worker.h"
#include "reclaim/swap_in.h"
#include "region/fault_service.h"
#include "region/zero_pool.h"
#include "topology/topology.h"
#include "vmm/options.h"

namespace vmm::host {

struct NodeRuntime {
  topology::Node node;
  std::unique_ptr<region::ZeroPool> zero_pool;  // null without UFFDIO_MOVE
  std::unique_ptr<reclaim::SwapIn> swap_in;
  std::unique_ptr<region::FaultService> faults;
  std::unique_ptr<sharing::Sharer> sharer;  // null where pages are not shared
  ShareRates share_rates;
  std::unique_ptr<Worker> worker;
  // As the home-node scheduler last saw them: load as NodeStats, memory that nobody uses in bytes.
  std::atomic<double> load{0};
  std::atomic<std::uint64_t> free{0};

  ~NodeRuntime() {
    worker.reset();
    faults.reset();
  }

  // Pages are looked at for sharing as fast as the options say. Any thread.
  void set_share_rates(const HostOptions& host) noexcept;
  // Pages of its table of keys.
  std::uint64_t table_pages() const noexcept {
    return sharer == nullptr ? 0 : sharer->table().capacity() * sizeof(std::uint64_t) / kPageSize;
  }
  // Pages of its buffers.
  static constexpr std::uint64_t overhead_pages() noexcept { return reclaim::SwapIn::buffer_bytes() / kPageSize; }
};

struct NodeRuntimeOptions {
  HostOptions host;
  bool move = true;  // UFFDIO_MOVE is used
  SharingParts* sharing = nullptr;  // null: pages are not shared
  std::uint64_t nodes = 1;          // of the host: each has a part of the table of keys
};

// Errors: those of the parts. On error nothing runs.
Result<std::unique_ptr<NodeRuntime>> make_node_runtime(const topology::Node& node, const NodeRuntimeOptions& options,
                                                       region::Credit& credit, Arbiter& arbiter,
                                                       region::MemoryDemand& demand,
                                                       region::Notices& notices, const base::Clock& clock);

}  // namespace vmm::host
