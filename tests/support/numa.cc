#include "support/numa.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <sstream>

#include "support/kernel_view.h"
#include "vmm/units.h"

namespace vmm::test {
namespace {

const std::string kNodes = "/sys/devices/system/node/";

// "0-3,8"
std::vector<int> list_in(const std::string& path) {
  std::ifstream in(path);
  std::vector<int> numbers;
  for (std::string part; std::getline(in, part, ',');) {
    int first = 0, last = 0;
    const int read = std::sscanf(part.c_str(), "%d-%d", &first, &last);
    if (read < 1) continue;
    if (read == 1) last = first;
    for (int n = first; n <= last; ++n) numbers.push_back(n);
  }
  return numbers;
}

std::string of_node(int node) { return kNodes + "node" + std::to_string(node) + "/"; }

// The sum of those lines of the node's meminfo, in bytes.
std::uint64_t node_figures(int node, std::initializer_list<std::string> names) {
  std::ifstream in(of_node(node) + "meminfo");
  std::uint64_t sum = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word, number, name;
    std::uint64_t kib = 0;
    if (words >> word >> number >> name >> kib && name.ends_with(":") &&
        std::find(names.begin(), names.end(), name.substr(0, name.size() - 1)) != names.end())
      sum += kib * KiB;
  }
  return sum;
}

}  // namespace

std::vector<int> nodes_with_memory() { return list_in(kNodes + "has_memory"); }
std::vector<int> nodes_with_processors() { return list_in(kNodes + "has_cpu"); }
std::vector<int> processors_of_node(int node) { return list_in(of_node(node) + "cpulist"); }

std::vector<int> distances_from_node(int node) {
  std::ifstream in(of_node(node) + "distance");
  return {std::istream_iterator<int>(in), std::istream_iterator<int>()};
}

std::uint64_t memory_of_node(int node) { return node_figures(node, {"MemTotal"}); }

std::uint64_t obtainable_on_node(int node) {
  return node_figures(node, {"MemFree", "Active(file)", "Inactive(file)"});
}

std::uint64_t pages_on_node(const std::byte* start, std::uint64_t pages, int node) {
  const auto nodes = nodes_of_pages(start, pages);
  return static_cast<std::uint64_t>(std::count(nodes.begin(), nodes.end(), node));
}

std::vector<int> memory_only_nodes() {
  const auto memory = nodes_with_memory(), processors = nodes_with_processors();
  std::vector<int> only;
  std::set_difference(memory.begin(), memory.end(), processors.begin(), processors.end(), std::back_inserter(only));
  return only;
}

std::vector<int> home_nodes() {
  const auto memory = nodes_with_memory(), processors = nodes_with_processors();
  std::vector<int> both;
  std::set_intersection(memory.begin(), memory.end(), processors.begin(), processors.end(), std::back_inserter(both));
  return both;
}

std::string unable_on_one_node() {
  const auto nodes = nodes_with_memory().size();
  return nodes >= 2 ? "" : "needs two nodes with memory; this machine has " + std::to_string(nodes);
}

}  // namespace vmm::test
