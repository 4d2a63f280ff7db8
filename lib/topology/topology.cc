#include "topology/topology.h"

#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "os/node_info.h"

namespace vmm::topology {
namespace {

constexpr int kLocalDistance = 10;
constexpr int kRemoteDistance = 20;

struct Destroy {
  void operator()(hwloc_topology* t) const noexcept { hwloc_topology_destroy(t); }
};
using Handle = std::unique_ptr<hwloc_topology, Destroy>;

Result<Handle> new_handle() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return base::fail_errno(errno, "hwloc_topology_init", "free memory");
  return Handle(raw);
}

std::vector<int> numbers_of(hwloc_const_bitmap_t set) {
  std::vector<int> numbers;
  for (int i = hwloc_bitmap_first(set); i >= 0; i = hwloc_bitmap_next(set, i)) numbers.push_back(i);
  return numbers;
}

}  // namespace

// Copies out of a loaded hwloc topology.
class HwlocReader {
 public:
  // `live`: the kernel's own word on processors and allowed nodes is taken over hwloc's, which gives a
  // memory-only node the processors of its nearest neighbour and may not find the cpuset in a container.
  static Result<Topology> read(hwloc_topology_t handle, bool live) {
    Topology topology;
    std::optional<std::vector<int>> allowed;
    if (live) {
      if (auto nodes = os::allowed_nodes()) allowed = *std::move(nodes);
    }
    for (hwloc_obj_t o = nullptr; (o = hwloc_get_next_obj_by_type(handle, HWLOC_OBJ_NUMANODE, o)) != nullptr;) {
      const int id = static_cast<int>(o->os_index);
      if (allowed && !std::binary_search(allowed->begin(), allowed->end(), id)) continue;
      Node node;
      node.id = id;
      node.memory = o->attr->numanode.local_memory;
      node.cpus = numbers_of(o->cpuset);
      if (live) restrict_to_kernels(node, handle);
      topology.nodes_.push_back(std::move(node));
    }
    if (topology.nodes_.empty())
      return base::fail_errno(ENODEV, "no NUMA node that this process may use",
                              "allow a node in the cpuset of this process");
    std::sort(topology.nodes_.begin(), topology.nodes_.end(), [](const Node& a, const Node& b) { return a.id < b.id; });
    give_each_cpu_to_one_node(topology.nodes_);
    const bool single = hwloc_bitmap_weight(hwloc_topology_get_complete_nodeset(handle)) == 1;
    if (live && single) complete_single_node(topology.nodes_[0]);
    read_distances(handle, topology);
    return topology;
  }

 private:
  static void restrict_to_kernels(Node& node, hwloc_topology_t handle) {
    const auto cpus = os::node_cpus(node.id);
    if (!cpus) return;
    node.cpus.clear();
    for (const int cpu : *cpus)
      if (hwloc_bitmap_isset(hwloc_topology_get_allowed_cpuset(handle), static_cast<unsigned>(cpu)))
        node.cpus.push_back(cpu);
  }

  static void give_each_cpu_to_one_node(std::vector<Node>& nodes) {
    std::set<int> taken;
    for (Node& node : nodes) {
      std::vector<int> own;
      for (const int cpu : node.cpus)
        if (taken.insert(cpu).second) own.push_back(cpu);
      node.cpus = std::move(own);
      node.memory_only = node.cpus.empty();
    }
  }

  // A machine's only node has all of its memory. Its own figure is missing where /sys is hidden, and lags behind in
  // virtual machines whose memory is ballooned.
  static void complete_single_node(Node& node) {
    if (const auto memory = os::machine_memory()) node.memory = std::max(node.memory, *memory);
  }

  static void read_distances(hwloc_topology_t handle, Topology& topology) {
    unsigned count = 1;
    hwloc_distances_s* found = nullptr;
    if (hwloc_distances_get_by_name(handle, "NUMALatency", &count, &found, 0) != 0 || count == 0) return;
    const std::size_t n = topology.nodes_.size();
    std::vector<int> matrix(n * n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) matrix[i * n + j] = i == j ? kLocalDistance : kRemoteDistance;
    for (unsigned i = 0; i < found->nbobjs; ++i)
      for (unsigned j = 0; j < found->nbobjs; ++j) {
        const auto from = index_of(topology, static_cast<int>(found->objs[i]->os_index));
        const auto to = index_of(topology, static_cast<int>(found->objs[j]->os_index));
        if (from && to) matrix[*from * n + *to] = static_cast<int>(found->values[i * found->nbobjs + j]);
      }
    hwloc_distances_release(handle, found);
    // Tables that firmware got wrong are worth less than the default.
    [[maybe_unused]] const auto taken = topology.set_distances(matrix);
  }

  static std::optional<std::size_t> index_of(const Topology& topology, int id) {
    const Node* node = topology.find(id);
    if (node == nullptr) return std::nullopt;
    return static_cast<std::size_t>(node - topology.nodes_.data());
  }
};

Result<Topology> Topology::discover() {
  auto handle = new_handle();
  if (!handle) return tl::unexpected(handle.error());
  hwloc_topology_t t = handle->get();
  // Only what is read is looked for: caches and cores that contradict each other (firmware, virtual machines) make
  // hwloc print to stderr, and finding them may move the calling thread from processor to processor. Groups and
  // packages stay: hwloc hangs the nodes below them.
  hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING);
  hwloc_topology_set_all_types_filter(t, HWLOC_TYPE_FILTER_KEEP_NONE);
  hwloc_topology_set_type_filter(t, HWLOC_OBJ_GROUP, HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
  hwloc_topology_set_type_filter(t, HWLOC_OBJ_PACKAGE, HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
  if (hwloc_topology_load(t) != 0) return base::fail_errno(errno != 0 ? errno : EIO, "hwloc_topology_load");
  if (!hwloc_topology_is_thissystem(t))
    return base::fail_errno(ENODEV, "hwloc describes another machine than this one",
                            "unset HWLOC_SYNTHETIC, HWLOC_XMLFILE and HWLOC_FSROOT");
  return HwlocReader::read(t, true);
}

Result<Topology> Topology::synthetic(const std::string& description) {
  auto handle = new_handle();
  if (!handle) return tl::unexpected(handle.error());
  if (hwloc_topology_set_synthetic(handle->get(), description.c_str()) != 0 || hwloc_topology_load(handle->get()) != 0)
    return base::invalid("topology description \"" + description + "\"",
                         "use hwloc's synthetic syntax, for example \"node:4 core:2 pu:1\"");
  return HwlocReader::read(handle->get(), false);
}

const Node* Topology::find(int id) const noexcept {
  const auto at = std::lower_bound(nodes_.begin(), nodes_.end(), id, [](const Node& n, int i) { return n.id < i; });
  return at != nodes_.end() && at->id == id ? &*at : nullptr;
}

int Topology::distance(int from, int to) const noexcept {
  const Node* a = find(from);
  const Node* b = find(to);
  if (distances_.empty() || a == nullptr || b == nullptr) return from == to ? kLocalDistance : kRemoteDistance;
  return distances_[static_cast<std::size_t>(a - nodes_.data()) * nodes_.size() +
                    static_cast<std::size_t>(b - nodes_.data())];
}

Result<void> Topology::set_distances(const std::vector<int>& matrix) {
  const std::size_t n = nodes_.size();
  if (matrix.size() != n * n)
    return base::invalid("distances: " + std::to_string(matrix.size()) + " values for " + std::to_string(n) + " nodes",
                         "give nodes * nodes values");
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    const bool diagonal = i / n == i % n;
    if (matrix[i] < kLocalDistance || (diagonal && matrix[i] != kLocalDistance))
      return base::invalid("distances: " + std::to_string(matrix[i]) + " from node " +
                               std::to_string(nodes_[i / n].id) + " to node " + std::to_string(nodes_[i % n].id),
                           "10 is local, others are greater");
  }
  distances_ = matrix;
  return {};
}

}  // namespace vmm::topology
