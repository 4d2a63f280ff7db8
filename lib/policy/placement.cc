#include "policy/placement.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>

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

// None with a load or distance that is no number is preferred.
double burden(const PlacementSnapshot& s, const PlacementNode& node) {
  const double promised = static_cast<double>(node.promised) + static_cast<double>(s.memory);
  const double burden = node.load + promised / static_cast<double>(node.memory);
  return std::isnan(burden) ? std::numeric_limits<double>::infinity() : burden;
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

std::string burden_text(const PlacementSnapshot& s, const PlacementNode& node) {
  char text[128];
  std::snprintf(text, sizeof text,
                "burden %.2f: load %.2f, %.2f of its memory promised with the guest; mean distance %.1f",
                burden(s, node), node.load, burden(s, node) - node.load, node.mean_distance);
  return text;
}

// By load and distance: the one of these that is chosen, or end.
std::vector<Judged>::const_iterator least_burdened(const PlacementSnapshot& s, const std::vector<Judged>& judged,
                                                   bool (*considered)(Fit)) {
  double least = std::numeric_limits<double>::infinity();
  for (const Judged& j : judged)
    if (considered(j.fit)) least = std::min(least, burden(s, *j.node));
  auto best = judged.end();
  for (auto j = judged.begin(); j != judged.end(); ++j) {
    if (!considered(j->fit) || burden(s, *j->node) > least + kEqualBurden) continue;
    if (best == judged.end() || j->node->mean_distance < best->node->mean_distance ||
        (!(best->node->mean_distance < j->node->mean_distance) && j->node->id < best->node->id))
      best = j;
  }
  return best;
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
  const bool by_load = s.rule == PlacementRule::load_and_distance;
  const PlacementNode* least = nullptr;
  if (by_load) least = least_burdened(s, judged, [](Fit fit) { return fit != Fit::excluded; })->node;
  std::uint64_t room = 0;
  std::uint64_t reserved = 0;
  for (const Judged& j : judged) {
    if (j.fit == Fit::excluded) continue;
    room += usable(*j.node, s.min_free);
    reserved += j.node->reserved;
    if (by_load) continue;
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
  Placement p = choose(
      *least,
      "guest of " + bytes_text(s.memory) + " is larger than any allowed node and takes memory of " + "others too; " +
          (by_load ? "least burdened, " + burden_text(s, *least)
                   : "least promised, " + bytes_text(least->promised) + " of " + bytes_text(least->memory)),
      skipped_text(judged, judged.size(), least));
  p.wide = true;
  return p;
}

}  // namespace

Placement plan_placement(const PlacementSnapshot& s) {
  const bool by_load = s.rule == PlacementRule::load_and_distance;
  std::vector<Judged> judged = judge_in_turn(s);
  if (by_load)
    for (Judged& j : judged)
      if (j.fit != Fit::excluded) j.why += (j.why.empty() ? "" : "; ") + burden_text(s, *j.node);
  const auto first = [&](Fit fit) {
    return std::find_if(judged.cbegin(), judged.cend(), [&](const Judged& j) { return j.fit == fit; });
  };
  if (auto full = first(Fit::full); full != judged.end()) {
    // In turn, the ones after it were not looked at.
    const auto before = by_load ? judged.size() : static_cast<std::size_t>(full - judged.cbegin());
    if (by_load) full = least_burdened(s, judged, [](Fit fit) { return fit == Fit::full; });
    return choose(*full->node,
                  (by_load ? "least burdened, " + full->why : "next in turn") + ", holds the guest's " +
                      bytes_text(s.memory) + " beside " + bytes_text(full->node->promised) + " promised of " +
                      bytes_text(usable(*full->node, s.min_free)) + " usable",
                  skipped_text(judged, before, full->node));
  }
  if (auto over = first(Fit::overcommitted); over != judged.end()) {
    if (by_load) over = least_burdened(s, judged, [](Fit fit) { return fit == Fit::overcommitted; });
    return choose(*over->node,
                  std::string(by_load ? "least burdened" : "next in turn") + ", overcommitted: " + over->why,
                  skipped_text(judged, judged.size(), over->node));
  }

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
