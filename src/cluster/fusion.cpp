#include "src/cluster/fusion.hpp"

#include <algorithm>
#include <cmath>

namespace driftlock {
namespace {

struct Edge {
  Nanoseconds at = 0;
  int change = 0;
};

bool states_bound(const FusionSource& source) {
  return source.hard.earliest != kLongAgo && source.hard.latest != kNever;
}

// One source's part in the estimate, relative to a base so that a double holds it to the
// nanosecond.
struct Part {
  std::size_t index = 0;
  double x = 0.0;
  double weight = 0.0;  // w_i / P_i, not normalized
};

double mean_of(const std::vector<Part>& parts, const std::vector<bool>& left_out) {
  double sum = 0.0;
  double weights = 0.0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (left_out[i]) continue;
    sum += parts[i].weight * parts[i].x;
    weights += parts[i].weight;
  }
  return sum / weights;
}

// The least (sign -1) or greatest (sign 1) weighted mean of all but `out` parts: for a mean t the
// best to leave out are those with the largest -sign w (x - t), and t follows from them
// (Dinkelbach's iteration, which is monotone and ends).
double extreme_mean(const std::vector<Part>& parts, std::size_t out, double sign) {
  std::vector<bool> left_out(parts.size(), false);
  double mean = mean_of(parts, left_out);
  if (out == 0) return mean;
  std::vector<std::size_t> order(parts.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  constexpr int kRounds = 32;
  for (int round = 0; round < kRounds; ++round) {
    const auto pull = [&](std::size_t i) { return -sign * parts[i].weight * (parts[i].x - mean); };
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(out - 1),
                     order.end(), [&](std::size_t a, std::size_t b) { return pull(a) > pull(b); });
    left_out.assign(parts.size(), false);
    for (std::size_t i = 0; i < out; ++i) left_out[order[i]] = pull(order[i]) > 0.0;
    const double next = mean_of(parts, left_out);
    if (sign * (next - mean) <= 1e-9 * (1.0 + std::fabs(mean))) return mean;
    mean = next;
  }
  return mean;
}

// No clock that passed counts as more certain than the (faulty + 1)-th most certain.
double least_variance(const std::vector<double>& sigmas, std::size_t faulty) {
  std::vector<double> sorted = sigmas;
  const std::size_t at = std::min(faulty, sorted.size() - 1);
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(at), sorted.end());
  return std::max(sorted[at] * sorted[at], 1.0);
}

// Never beyond what is certain.
Interval k_sigma(const FusionSource& source, double sigma) {
  const Interval likely = Interval::around(
      source.estimate_ns, static_cast<Nanoseconds>(std::ceil(kFusionSigmas * sigma)));
  return likely.overlaps(source.hard) ? Interval{std::max(likely.earliest, source.hard.earliest),
                                                 std::min(likely.latest, source.hard.latest)}
                                      : source.hard;
}

// Sources that are used by the verdicts so far.
std::vector<std::size_t> used(const Fused& fused) {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < fused.verdicts.size(); ++i) {
    if (fused.verdicts[i] == SourceVerdict::kUsed) indices.push_back(i);
  }
  return indices;
}

// Leaves out what lies further off than it claims to at most. Intervals of k sigma may all miss now
// and then, as bounds may not: where too few share a point, none is left out.
void reject_improbable(std::span<const FusionSource> sources, double variance_floor, Fused& fused) {
  const std::vector<std::size_t> indices = used(fused);
  std::vector<Interval> intervals;
  intervals.reserve(indices.size());
  for (const std::size_t i : indices) {
    intervals.push_back(
        k_sigma(sources[i], std::max(sources[i].sigma_ns, std::sqrt(variance_floor))));
  }
  const std::size_t faulty = fused.faulty_allowed - std::min(fused.faulty_allowed, fused.rejected);
  Interval shared;
  if (faulty == 0 || !intersect(intervals, indices.size() - faulty, shared)) return;
  for (std::size_t n = 0; n < indices.size(); ++n) {
    if (intervals[n].overlaps(shared)) continue;
    fused.verdicts[indices[n]] = SourceVerdict::kImprobable;
    ++fused.rejected;
  }
}

void estimate(std::span<const FusionSource> sources, Fused& fused) {
  std::vector<double> sigmas;
  for (const std::size_t i : used(fused)) sigmas.push_back(sources[i].sigma_ns);
  if (sigmas.empty()) return;
  const auto left = [&] {
    return fused.faulty_allowed - std::min(fused.faulty_allowed, fused.rejected);
  };
  const double floor = least_variance(sigmas, left());
  reject_improbable(sources, floor, fused);
  const Nanoseconds base = fused.hard.middle();
  std::vector<Part> parts;
  double weights = 0.0;
  double inverse = 0.0;
  for (const std::size_t i : used(fused)) {
    const double variance = std::max(sources[i].sigma_ns * sources[i].sigma_ns, floor);
    // w_i = (1/P_i) / sum(1/P_j), so w_i / P_i goes by 1/P_i squared.
    parts.push_back(
        {i, static_cast<double>(sources[i].estimate_ns - base), 1.0 / (variance * variance)});
    weights += 1.0 / variance;
    inverse += 1.0 / (variance * variance);
  }
  const std::size_t out = std::min(left(), parts.size() - 1);
  const double sigma = std::sqrt(weights / inverse);
  const double low = extreme_mean(parts, out, -1.0) - kFusionSigmas * sigma;
  const double high = extreme_mean(parts, out, 1.0) + kFusionSigmas * sigma;
  const double mean = mean_of(parts, std::vector<bool>(parts.size(), false));
  const auto instant = [&](double x) { return saturating_add(base, std::llround(x)); };
  fused.sigma_ns = sigma;
  fused.estimate_ns = std::clamp(instant(mean), fused.hard.earliest, fused.hard.latest);
  fused.statistical = {std::clamp(instant(low) - 1, fused.hard.earliest, fused.hard.latest),
                       std::clamp(instant(high) + 1, fused.hard.earliest, fused.hard.latest)};
}

}  // namespace

bool intersect(std::span<const Interval> intervals, std::size_t needed, Interval& out) {
  if (needed == 0) return false;
  std::vector<Edge> edges;
  edges.reserve(2 * intervals.size());
  for (const Interval& interval : intervals) {
    edges.push_back({interval.earliest, 1});
    edges.push_back({interval.latest, -1});
  }
  // Closed intervals: where one begins at another's end, they share that point.
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) {
    return a.at != b.at ? a.at < b.at : a.change > b.change;
  });
  bool found = false;
  std::size_t open = 0;
  for (const Edge& edge : edges) {
    if (edge.change > 0) {
      ++open;
      if (open >= needed && !found) {
        out.earliest = edge.at;
        found = true;
      }
    } else {
      if (open >= needed) out.latest = edge.at;
      --open;
    }
  }
  return found;
}

Fused fuse(std::span<const FusionSource> sources, std::size_t faulty_max) {
  Fused fused;
  fused.verdicts.assign(sources.size(), SourceVerdict::kUsed);
  std::vector<Interval> bounds;
  Interval all{kNever, kLongAgo};
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (!states_bound(sources[i])) {
      fused.verdicts[i] = SourceVerdict::kSilent;
      continue;
    }
    bounds.push_back(sources[i].hard);
    all = {std::min(all.earliest, sources[i].hard.earliest),
           std::max(all.latest, sources[i].hard.latest)};
  }
  fused.voters = bounds.size();
  fused.faulty_allowed = faulty_max;
  if (bounds.empty()) return fused;
  fused.valid =
      bounds.size() > faulty_max && intersect(bounds, bounds.size() - faulty_max, fused.hard);
  if (!fused.valid) {
    fused.hard = all;
  } else {
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (fused.verdicts[i] != SourceVerdict::kUsed || sources[i].hard.overlaps(fused.hard))
        continue;
      fused.verdicts[i] = SourceVerdict::kFalse;
      ++fused.rejected;
    }
  }
  estimate(sources, fused);
  return fused;
}

}  // namespace driftlock
