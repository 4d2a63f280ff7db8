#include "policy/rebalance_board.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "policy/cpu_entitlement.h"

namespace vmm::policy {
namespace {

using Seconds = std::chrono::duration<double>;

// Below this mean load, differences are measured against it.
constexpr double kLeastScale = 0.5;
// What a guest is owed is remembered up to so many seconds of its entitlement.
constexpr double kMostOwedSeconds = 1800;
// A guest that gets all it wants, but for this part, is paid; what it was owed is then forgotten by a part each period.
constexpr double kNegligible = 0.02;
constexpr double kForgotten = 1.0 / 16;

double amount(double value) { return std::isfinite(value) && value > 0 ? value : 0; }

}  // namespace

RebalanceBoard::RebalanceBoard(const RebalanceSnapshot& snapshot, const RebalanceOptions& options)
    : snapshot_(snapshot), options_(options) {
  add_nodes();
  add_guests();
  entitle();
  settle_debts();
  place();
}

void RebalanceBoard::add_nodes() {
  for (std::size_t i = 0; i < snapshot_.nodes.size(); ++i) {
    const RebalanceNode& node = snapshot_.nodes[i];
    if (node.memory_only || node.processors == 0) continue;
    BoardNode on_board;
    on_board.index = i;
    on_board.processors = node.processors;
    const double kept = std::clamp(options_.min_free, 0.0, 1.0) * static_cast<double>(node.memory);
    on_board.free = static_cast<double>(node.free) - kept;
    on_board.unreserved = static_cast<double>(node.memory) - kept;
    most_processors_ = std::max(most_processors_, on_board.processors);
    nodes_.push_back(std::move(on_board));
  }
  std::sort(nodes_.begin(), nodes_.end(), [&](const BoardNode& a, const BoardNode& b) { return of(a).id < of(b).id; });
}

void RebalanceBoard::add_guests() {
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  order.reserve(snapshot_.guests.size());
  for (std::size_t i = 0; i < snapshot_.guests.size(); ++i) order.emplace_back(snapshot_.guests[i].id, i);
  std::sort(order.begin(), order.end());
  guests_.reserve(order.size());
  for (const auto& [id, index] : order) {
    const RebalanceGuest& from = snapshot_.guests[index];
    BoardGuest guest;
    guest.index = index;
    guest.node = node_of(from.home);
    guest.shares = from.shares;
    guest.used = amount(from.used);
    guest.wanted = std::max(amount(from.wanted), guest.used);
    guest.owed = std::isfinite(from.owed) ? from.owed : 0;
    guest.parts = std::max(1.0, static_cast<double>(from.threads));
    guest.holds = static_cast<double>(std::max(from.resident, from.reservation));
    guest.reservation = static_cast<double>(from.reservation);
    guest.movable = from.movable && !(from.last_move && snapshot_.now - *from.last_move < options_.cool_down);
    guest.anywhere = from.affinity.empty();
    guest.scattered = !from.by_node.empty();
    guest.moved = from.last_move.has_value();
    find_remote(guest);
    guests_.push_back(guest);
    if (guest.node) nodes_[*guest.node].free -= on_its_way(guests_.size() - 1);
  }
}

void RebalanceBoard::find_remote(BoardGuest& guest) const {
  const RebalanceGuest& from = of(guest);
  if (from.resident == 0) {
    guest.most_remote = guest.next_remote = 1;  // all of nothing
    return;
  }
  std::uint64_t most = 0;
  std::uint64_t next = 0;
  for (std::size_t n = 0; n < std::min(from.by_node.size(), snapshot_.nodes.size()); ++n) {
    if (from.by_node[n] <= next || snapshot_.nodes[n].id == from.home) continue;
    next = from.by_node[n];
    if (next <= most) continue;
    std::swap(most, next);
    guest.most_remote_on = n;
  }
  const auto part = [&](std::uint64_t bytes) {
    return std::min(1.0, static_cast<double>(bytes) / static_cast<double>(from.resident));
  };
  guest.most_remote = part(most);
  guest.next_remote = part(next);
}

std::optional<std::size_t> RebalanceBoard::node_of(int id) const {
  const auto at = std::lower_bound(nodes_.begin(), nodes_.end(), id,
                                   [&](const BoardNode& node, int wanted_id) { return of(node).id < wanted_id; });
  if (at == nodes_.end() || of(*at).id != id) return std::nullopt;
  return static_cast<std::size_t>(at - nodes_.begin());
}

// No more than one node has.
double RebalanceBoard::could_use(const BoardGuest& guest) const {
  if (!guest.node || guest.wanted == 0) return 0;
  double processors = nodes_[*guest.node].processors;
  if (guest.wanted <= processors || !of(guest).movable) return std::min(guest.wanted, processors);
  if (guest.anywhere) return std::min(guest.wanted, most_processors_);
  for (const int id : of(guest).affinity)
    if (const auto node = node_of(id)) processors = std::max(processors, nodes_[*node].processors);
  return std::min(guest.wanted, processors);
}

void RebalanceBoard::entitle() {
  double processors = 0;
  for (const BoardNode& node : nodes_) processors += node.processors;
  std::vector<CpuClaim> claims;
  claims.reserve(guests_.size());
  for (const BoardGuest& guest : guests_) claims.push_back({guest.shares, could_use(guest)});
  const auto entitled = cpu_entitlements(claims, processors);
  for (std::size_t i = 0; i < guests_.size(); ++i) {
    guests_[i].entitled = entitled[i];
    if (options_.weighted && entitled[i] > 0) guests_[i].parts = entitled[i];
  }
}

void RebalanceBoard::settle_debts() {
  const double elapsed = amount(Seconds(snapshot_.elapsed).count());
  double owed = 0;
  double entitled = 0;
  std::vector<double> claimed(nodes_.size());
  for (const BoardGuest& guest : guests_)
    if (guest.node) claimed[*guest.node] += guest.entitled;
  for (BoardGuest& guest : guests_) {
    if (!guest.node) continue;
    // With weights all guests of a full node are short alike, if by little.
    const bool full = options_.weighted && claimed[*guest.node] > nodes_[*guest.node].processors;
    const bool content =
        !full && guest.wanted <= guest.entitled * (1 + kNegligible) && guest.used >= guest.entitled * (1 - kNegligible);
    if (content)
      guest.owed *= 1 - kForgotten;
    else
      guest.owed += (guest.entitled - guest.used) * elapsed;
    owed += guest.owed;
    entitled += guest.entitled;
  }
  // What others take of the processors, guests lack alike: that is no debt among them.
  const double alike = entitled > 0 ? owed / entitled : 0;
  for (BoardGuest& guest : guests_) {
    if (!guest.node) continue;
    const double most = kMostOwedSeconds * guest.entitled;
    guest.owed = std::clamp(guest.owed - alike * guest.entitled, -most, most);
  }
}

void RebalanceBoard::place() {
  double processors = 0;
  double entitled = 0;
  for (std::size_t i = 0; i < guests_.size(); ++i) {
    const BoardGuest& guest = guests_[i];
    if (!guest.node) continue;
    BoardNode& node = nodes_[*guest.node];
    node.entitled += guest.entitled;
    node.unreserved -= guest.reservation;
    if (guest.entitled < kIdleProcessors) continue;
    node.most_owed = std::max(node.most_owed, guest.owed);
    if (guest.movable) node.candidates.push_back(i);
  }
  for (BoardNode& node : nodes_) {
    processors += node.processors;
    entitled += node.entitled;
    std::sort(node.candidates.begin(), node.candidates.end(), [&](std::size_t a, std::size_t b) {
      return guests_[a].entitled != guests_[b].entitled ? guests_[a].entitled < guests_[b].entitled : a < b;
    });
  }
  scale_ = processors > 0 ? std::max(entitled / processors, kLeastScale) : 1;
}

double RebalanceBoard::imbalance() const {
  if (nodes_.empty()) return 0;
  const auto [least, most] = std::minmax_element(
      nodes_.begin(), nodes_.end(), [](const BoardNode& a, const BoardNode& b) { return a.load() < b.load(); });
  return (most->load() - least->load()) / scale_;
}

bool RebalanceBoard::unfair(double part) const {
  const double most = most_load();
  if (most <= 1 + kNegligible / 2) return false;
  if (most > 1 + part) return true;
  // What is left on a node goes to those who want more.
  std::vector<double> of_waiting(nodes_.size());
  for (const BoardGuest& guest : guests_)
    if (guest.node && guest.wanted > guest.entitled * (1 + kNegligible)) of_waiting[*guest.node] += guest.entitled;
  for (std::size_t n = 0; n < nodes_.size(); ++n)
    if (of_waiting[n] > kIdleProcessors && nodes_[n].processors - nodes_[n].entitled > part * of_waiting[n]) return true;
  return false;
}

double RebalanceBoard::most_load() const {
  double most = 0;
  for (const BoardNode& node : nodes_) most = std::max(most, node.load());
  return most;
}

std::optional<std::uint64_t> RebalanceBoard::bytes_on(std::size_t guest, std::size_t node) const {
  const auto& by_node = of(guests_[guest]).by_node;
  const std::size_t at = nodes_[node].index;
  return at < by_node.size() ? std::optional(by_node[at]) : std::nullopt;
}

double RebalanceBoard::locality(std::size_t guest, std::size_t node) const {
  const RebalanceGuest& from = of(guests_[guest]);
  if (from.resident == 0) return 1;
  return std::min(1.0, static_cast<double>(bytes_on(guest, node).value_or(0)) / static_cast<double>(from.resident));
}

double RebalanceBoard::needs(std::size_t guest, std::size_t node) const {
  const double holds = guests_[guest].holds;
  if (!guests_[guest].scattered) return holds;
  return std::max(holds - static_cast<double>(bytes_on(guest, node).value_or(0)), 0.0);
}

double RebalanceBoard::on_its_way(std::size_t guest) const {
  const auto resident = of(guests_[guest]).resident;
  const auto there = bytes_on(guest, *guests_[guest].node).value_or(resident);
  return static_cast<double>(resident - std::min(resident, there));
}

bool RebalanceBoard::fits(std::size_t guest, std::size_t node) const {
  const BoardGuest& on_board = guests_[guest];
  const double bytes = needs(guest, node);
  if (bytes > 0 && bytes > nodes_[node].free) return false;
  if (on_board.reservation > 0 && on_board.reservation > nodes_[node].unreserved) return false;
  if (on_board.anywhere) return true;
  const std::vector<int>& affinity = of(on_board).affinity;
  return std::find(affinity.begin(), affinity.end(), of(nodes_[node]).id) != affinity.end();
}

bool RebalanceBoard::returns(std::size_t guest, std::size_t node) const {
  if (!guests_[guest].moved) return false;
  const RebalanceGuest& from = of(guests_[guest]);
  return from.came_from == of(nodes_[node]).id && snapshot_.now - *from.last_move < options_.return_guard;
}

void RebalanceBoard::move(std::size_t guest, std::size_t to) {
  BoardGuest& moved = guests_[guest];
  BoardNode& from = nodes_[*moved.node];
  const double reservation = moved.reservation;
  from.entitled -= moved.entitled;
  from.unreserved += reservation;
  if (of(from).id == of(moved).home) from.free += on_its_way(guest);
  from.candidates.erase(std::find(from.candidates.begin(), from.candidates.end(), guest));
  ++from.moves;
  nodes_[to].free -= needs(guest, to);
  nodes_[to].entitled += moved.entitled;
  nodes_[to].unreserved -= reservation;
  ++nodes_[to].moves;
  moved.node = to;
}

}  // namespace vmm::policy
