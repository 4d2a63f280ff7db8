#include "policy/placement.h"

#include <algorithm>
#include <cstddef>

#include "base/text.h"

namespace vmm::policy {
namespace {

using base::bytes_text;

// Reasons of large machines stay readable.
constexpr std::size_t kMostSkippedTold = 8;

enum class Fit { excluded, no, overcommitted, full };

struct Judged {
  const PlacementNode* node;
  Fit fit;
  std::string why;  // not, or not in full
};

std::uint64_t usable(const PlacementNode& node, double min_free) {
  const double kept = std::clamp(min_free, 0.0, 1.0) * static_cast<double>(node.memory);
  return node.memory - std::min(node.memory, static_cast<std::uint64_t>(kept));
}

// `wanted` more beside `taken` of `room`, without overflow.
bool fits(std::uint64_t wanted, std::uint64_t taken, std::uint64_t room) {
  return taken <= room && wanted <= room - taken;
}

double promised_share(const PlacementNode& node) {
  return static_cast<double>(node.promised) / static_cast<double>(node.memory);
}

bool allowed(const PlacementSnapshot& s, int id) {
  return s.affinity.empty() || std::find(s.affinity.begin(), s.affinity.end(), id) != s.affinity.end();
}

Judged judge(const PlacementSnapshot& s, const PlacementNode& node) {
  if (!allowed(s, node.id)) return {&node, Fit::excluded, "not in the affinity " + base::list_text(s.affinity)};
  if (node.memory_only) return {&node, Fit::excluded, "has memory but no processors"};
  if (node.memory == 0) return {&node, Fit::excluded, "has no memory"};
  const std::uint64_t room = usable(node, s.min_free);
  if (s.memory > node.memory)
    return {&node, Fit::no, "guest of " + bytes_text(s.memory) + " is larger than its " + bytes_text(node.memory)};
  if (!fits(s.reservation, node.reserved, room))
    return {&node, Fit::no,
            "reservation of " + bytes_text(s.reservation) + " does not fit beside " + bytes_text(node.reserved) +
                " reserved of " + bytes_text(room) + " usable"};
  if (!fits(s.memory, node.promised, room))
    return {&node, Fit::overcommitted,
            "guest of " + bytes_text(s.memory) + " does not fit in full beside " + bytes_text(node.promised) +
                " promised of " + bytes_text(room) + " usable"};
  return {&node, Fit::full, {}};
}

// In round-robin order: ascending from the node after the last one chosen.
std::vector<Judged> judge_in_turn(const PlacementSnapshot& s) {
  std::vector<const PlacementNode*> order;
  order.reserve(s.nodes.size());
  for (const PlacementNode& node : s.nodes) order.push_back(&node);
  std::sort(order.begin(), order.end(), [&](const PlacementNode* a, const PlacementNode* b) {
    const bool a_wraps = a->id <= s.last_node;
    const bool b_wraps = b->id <= s.last_node;
    return a_wraps != b_wraps ? b_wraps : a->id < b->id;
  });
  std::vector<Judged> judged;
  judged.reserve(order.size());
  for (const PlacementNode* node : order) judged.push_back(judge(s, *node));
  return judged;
}

// "; node 2 skipped: ..." for the first `count` of them, but for `chosen`.
std::string skipped_text(const std::vector<Judged>& judged, std::size_t count, const PlacementNode* chosen) {
  std::string text;
  std::size_t told = 0;
  std::size_t untold = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (judged[i].node == chosen) continue;
    if (told == kMostSkippedTold) {
      ++untold;
      continue;
    }
    ++told;
    text += "; node " + std::to_string(judged[i].node->id) + " skipped: " + judged[i].why;
  }
  if (untold > 0) text += "; " + std::to_string(untold) + " more skipped";
  return text;
}

Placement choose(const PlacementNode& node, std::string why, const std::string& skipped) {
  Placement p;
  p.node = node.id;
  p.last_node = node.id;
  p.reason = "node " + std::to_string(node.id) + ": " + std::move(why) + skipped;
  return p;
}

Placement refuse(const PlacementSnapshot& s, const std::string& why, const std::string& skipped) {
  Placement p;
  p.last_node = s.last_node;
  p.reason = "refused: " + why + skipped;
  return p;
}

Placement place_wide(const PlacementSnapshot& s, const std::vector<Judged>& judged) {
  const PlacementNode* least = nullptr;
  std::uint64_t room = 0;
  std::uint64_t reserved = 0;
  for (const Judged& j : judged) {
    if (j.fit == Fit::excluded) continue;
    room += usable(*j.node, s.min_free);
    reserved += j.node->reserved;
    if (least == nullptr || promised_share(*j.node) < promised_share(*least)) least = j.node;
  }
  if (s.bound)
    return refuse(s, "the guest is bound to its node and larger than any",
                  skipped_text(judged, judged.size(), nullptr));
  if (!fits(s.reservation, reserved, room))
    return refuse(s,
                  "reservation of " + bytes_text(s.reservation) + " does not fit beside " + bytes_text(reserved) +
                      " reserved of " + bytes_text(room) + " usable on all allowed nodes",
                  skipped_text(judged, judged.size(), nullptr));
  Placement p =
      choose(*least,
             "guest of " + bytes_text(s.memory) + " is larger than any allowed node and takes memory of " +
                 "others too; least promised, " + bytes_text(least->promised) + " of " + bytes_text(least->memory),
             skipped_text(judged, judged.size(), least));
  p.wide = true;
  return p;
}

}  // namespace

Placement plan_placement(const PlacementSnapshot& s) {
  const std::vector<Judged> judged = judge_in_turn(s);
  const auto first = [&](Fit fit) {
    return std::find_if(judged.begin(), judged.end(), [&](const Judged& j) { return j.fit == fit; });
  };
  if (const auto full = first(Fit::full); full != judged.end()) {
    const auto before = static_cast<std::size_t>(full - judged.begin());
    return choose(*full->node,
                  "next in turn, holds the guest's " + bytes_text(s.memory) + " beside " +
                      bytes_text(full->node->promised) + " promised of " + bytes_text(usable(*full->node, s.min_free)) +
                      " usable",
                  skipped_text(judged, before, nullptr));
  }
  if (const auto over = first(Fit::overcommitted); over != judged.end())
    return choose(*over->node, "next in turn, overcommitted: " + over->why,
                  skipped_text(judged, judged.size(), over->node));

  std::uint64_t largest = 0;
  bool any = false;
  for (const Judged& j : judged) {
    if (j.fit == Fit::excluded) continue;
    any = true;
    largest = std::max(largest, j.node->memory);
  }
  if (!any) return refuse(s, "no node may be its home", skipped_text(judged, judged.size(), nullptr));
  if (s.memory > largest) return place_wide(s, judged);
  return refuse(s, "no node can hold it", skipped_text(judged, judged.size(), nullptr));
}

}  // namespace vmm::policy
