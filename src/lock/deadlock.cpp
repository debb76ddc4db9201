#include "src/lock/deadlock.hpp"

#include <algorithm>
#include <limits>
#include <map>

namespace driftlock {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

// The wait-for graph with sessions renumbered densely.
class WaitGraph {
 public:
  explicit WaitGraph(std::span<const WaitEdge> edges) {
    for (const WaitEdge& edge : edges) {
      if (edge.waiter == edge.blocker) continue;  // its own reader held beside its own wait
      const std::size_t from = number(edge.waiter);
      const std::size_t to = number(edge.blocker);
      edges_of_[from].push_back({edge, to});
    }
  }

  std::vector<std::vector<WaitEdge>> cycles() {
    index_.assign(edges_of_.size(), kNone);
    low_.assign(edges_of_.size(), 0);
    component_.assign(edges_of_.size(), kNone);
    for (std::size_t node = 0; node < edges_of_.size(); ++node) {
      if (index_[node] == kNone) visit(node);
    }
    return found_;
  }

 private:
  struct Edge {
    WaitEdge edge;
    std::size_t to;
  };
  struct Frame {
    std::size_t node;
    std::size_t next_edge;
  };

  std::size_t number(std::uint64_t session) {
    const auto [at, fresh] = numbers_.try_emplace(session, numbers_.size());
    if (fresh) edges_of_.emplace_back();
    return at->second;
  }

  void enter(std::size_t node) {
    index_[node] = low_[node] = next_index_++;
    stack_.push_back(node);
    frames_.push_back({node, 0});
  }

  // Tarjan's search with its own stack: a queue of a hundred thousand waiters is that deep.
  void visit(std::size_t root) {
    enter(root);
    while (!frames_.empty()) {
      const std::size_t node = frames_.back().node;
      if (frames_.back().next_edge < edges_of_[node].size()) {
        const std::size_t to = edges_of_[node][frames_.back().next_edge++].to;
        if (index_[to] == kNone) {
          enter(to);
        } else if (component_[to] == kNone) {
          low_[node] = std::min(low_[node], index_[to]);
        }
        continue;
      }
      frames_.pop_back();
      if (!frames_.empty()) {
        std::size_t& parent = low_[frames_.back().node];
        parent = std::min(parent, low_[node]);
      }
      if (low_[node] == index_[node]) close_component(node);
    }
  }

  void close_component(std::size_t root) {
    std::size_t size = 0;
    for (std::size_t node = kNone; node != root; ++size) {
      node = stack_.back();
      stack_.pop_back();
      component_[node] = components_;
    }
    ++components_;
    if (size > 1) found_.push_back(walk_cycle(root));
  }

  // Within its component every session has a way on; following it must come back to itself.
  std::vector<WaitEdge> walk_cycle(std::size_t start) {
    std::map<std::size_t, std::size_t> position;  // in the path
    std::vector<WaitEdge> path;
    std::size_t node = start;
    while (!position.contains(node)) {
      position[node] = path.size();
      const auto on = std::ranges::find_if(edges_of_[node], [&](const Edge& edge) {
        return component_[edge.to] == component_[start];
      });
      path.push_back(on->edge);
      node = on->to;
    }
    path.erase(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(position[node]));
    return path;
  }

  std::map<std::uint64_t, std::size_t> numbers_;
  std::vector<std::vector<Edge>> edges_of_;
  std::vector<std::size_t> index_;
  std::vector<std::size_t> low_;
  std::vector<std::size_t> component_;
  std::vector<std::size_t> stack_;
  std::vector<Frame> frames_;
  std::size_t next_index_ = 0;
  std::size_t components_ = 0;
  std::vector<std::vector<WaitEdge>> found_;
};

}  // namespace

std::vector<std::vector<WaitEdge>> find_deadlocks(std::span<const WaitEdge> edges) {
  return WaitGraph(edges).cycles();
}

}  // namespace driftlock
