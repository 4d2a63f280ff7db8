#include "host/node_runtime.h"

#include <algorithm>

#include "os/processor_clock.h"

namespace vmm::host {

Result<std::unique_ptr<NodeRuntime>> make_node_runtime(const topology::Node& node, const NodeRuntimeOptions& options,
                                                       region::Credit& credit, Arbiter& arbiter,
                                                       region::MemoryDemand& demand,
                                                       region::Notices& notices, const base::Clock& clock) {
  const HostOptions& host = options.host;
  auto runtime = std::make_unique<NodeRuntime>();
  runtime->node = node;
  runtime->free = node.memory;
  if (options.move) {
    auto pool = region::ZeroPool::create(node.id, credit);
    if (!pool) return tl::unexpected(pool.error());
    runtime->zero_pool = std::move(*pool);
  }
  reclaim::SwapInOptions in;
  in.node = node.id;
  in.io = host.swap_io;
  in.batch_pages = host.swap_in_batch_pages;
  auto swap_in = reclaim::SwapIn::create(in, credit, notices);
  if (!swap_in) return tl::unexpected(swap_in.error());
  runtime->swap_in = std::move(*swap_in);
  region::FaultServiceOptions fault;
  fault.node = node.id;
  auto faults =
      region::FaultService::create(fault, credit, *runtime->swap_in, demand, notices, runtime->zero_pool.get());
  if (!faults) return tl::unexpected(faults.error());
  runtime->faults = std::move(*faults);
  reclaim::SwapOutOptions out;
  out.node = node.id;
  out.io = host.swap_io;
  out.writes_in_flight = host.swap_async_write_pages;
  // Without any pause a file that fails would keep the worker busy with parking and giving back.
  out.retry_timeout = std::max<base::Nanos>(host.swap_retry_timeout, std::chrono::milliseconds(10));
  auto swap_out = reclaim::SwapOut::create(out, notices);
  if (!swap_out) return tl::unexpected(swap_out.error());
  WorkerSharing sharing;
  if (options.sharing != nullptr) {
    // No more frames than memory, and a key for as many pages.
    const auto frames = std::min(credit.budget(), sharing::FrameStores::kMostFrames);
    auto store = options.sharing->stores.add(node.id, frames, credit);
    if (!store) return tl::unexpected(store.error());
    sharing::SharerOptions sharer_options;
    sharer_options.table_entries = credit.budget() / options.nodes;
    auto sharer = sharing::Sharer::create(options.sharing->secret, options.sharing->stores, **store, sharer_options);
    if (!sharer) return tl::unexpected(sharer.error());
    runtime->sharer = std::move(*sharer);
    sharing.sharer = runtime->sharer.get();
    sharing.memory = &options.sharing->memory;
    sharing.rates = &runtime->share_rates;
    runtime->set_share_rates(host);
  }
  auto worker = Worker::create(node.id, credit, arbiter, std::move(*swap_out), runtime->zero_pool.get(), notices, clock,
                               sharing);
  if (!worker) return tl::unexpected(worker.error());
  runtime->worker = std::move(*worker);
  return runtime;
}

void NodeRuntime::set_share_rates(const HostOptions& host) noexcept {
  share_rates.bytes_per_second =
      host.share_scan_ghz * 1e6 * os::processor_ghz() * static_cast<double>(node.cpus.size());
  share_rates.scan_time = host.share_scan_time;
  share_rates.most = host.share_rate_max;
}

}  // namespace vmm::host
