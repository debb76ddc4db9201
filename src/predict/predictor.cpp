#include "src/predict/predictor.hpp"

#include <algorithm>
#include <utility>

namespace driftlock {

Predictor::Predictor(std::vector<const ProfileTable*> tables, const PredictorOptions& options)
    : tables_(std::move(tables)), options_(options) {
  std::size_t sessions = 0;
  for (const ProfileTable* table : tables_) sessions += table->size();
  scores_.reserve(sessions);
}

const PredictorSummary& Predictor::step(Nanoseconds now_tai_ns,
                                        std::span<const PathLatency> paths) {
  summary_ = PredictorSummary{.steps = summary_.steps + 1};
  scores_.clear();
  learn_paths(paths);
  for (const ProfileTable* table : tables_) {
    for (std::size_t i = 0; i < table->size(); ++i) {
      const bool read =
          table->read(i, [&](const ClientProfile& profile) { score(profile, now_tai_ns); });
      summary_.unreadable += read ? 0 : 1;
    }
  }
  forget_paths();
  const std::uint64_t scored = summary_.profiles - summary_.warming;
  if (scored > 0) summary_.score_mean /= static_cast<double>(scored);
  summary_.self_suspect =
      scored >= options_.self_clients &&
      static_cast<float>(summary_.suspects) >= options_.self_share * static_cast<float>(scored);
  return summary_;
}

void Predictor::learn_paths(std::span<const PathLatency> paths) {
  for (const PathLatency& path : paths) {
    if (path.session_id != 0) paths_[path.session_id].history.add(path);
  }
}

void Predictor::score(const ClientProfile& profile, Nanoseconds now_tai_ns) {
  if (now_tai_ns - profile.last_tai_ns > options_.forget_after_ns) return;
  ++summary_.profiles;
  const auto path = paths_.find(profile.session_id);
  const PathHistory* history = nullptr;
  if (path != paths_.end()) {
    path->second.present = true;
    history = &path->second.history;
    ++summary_.with_path;
  }
  const ClientScore result = score_of(profile, features_of(profile, history, now_tai_ns));
  scores_.push_back(result);
  if (result.warming) {
    ++summary_.warming;
    return;
  }
  summary_.score_mean += static_cast<double>(result.score);
  summary_.score_max = std::max(summary_.score_max, static_cast<double>(result.score));
  if (result.score >= options_.suspect_at) {
    ++summary_.suspects;
    ++summary_.causes[static_cast<std::size_t>(result.cause)];
  }
}

// The history of a session that is gone is dropped, so that the map is bounded by the sessions.
void Predictor::forget_paths() {
  std::erase_if(paths_, [](const auto& entry) { return !entry.second.present; });
  for (auto& [session, path] : paths_) path.present = false;
}

}  // namespace driftlock
