#include "src/predict/predictor.hpp"

#include <algorithm>
#include <utility>

namespace driftlock {
namespace {
constexpr double kNu = 0.5;
}  // namespace

Predictor::Predictor(std::vector<const ProfileTable*> tables, const PredictorOptions& options)
    : tables_(std::move(tables)),
      options_(options),
      model_(kFeatures, options.seed, kNu),
      random_(options.seed + 1) {
  std::size_t sessions = 0;
  for (const ProfileTable* table : tables_) sessions += table->size();
  scores_.reserve(sessions);
}

const PredictorSummary& Predictor::step(Nanoseconds now_tai_ns,
                                        std::span<const PathLatency> paths) {
  summary_ = PredictorSummary{.steps = summary_.steps + 1};
  scores_.clear();
  lesson_.clear();
  offered_ = 0;
  learn_paths(paths);
  for (const ProfileTable* table : tables_) {
    for (std::size_t i = 0; i < table->size(); ++i) {
      const bool read =
          table->read(i, [&](const ClientProfile& profile) { score(i, profile, now_tai_ns); });
      summary_.unreadable += read ? 0 : 1;
    }
  }
  forget_paths();
  const std::uint64_t scored = summary_.profiles - summary_.warming;
  if (scored > 0) summary_.score_mean /= static_cast<double>(scored);
  summary_.self_suspect =
      scored >= options_.self_clients &&
      static_cast<float>(summary_.suspects) >= options_.self_share * static_cast<float>(scored);
  learn();
  return summary_;
}

void Predictor::learn_paths(std::span<const PathLatency> paths) {
  for (const PathLatency& path : paths) {
    if (path.session_id != 0) paths_[path.session_id].history.add(path);
  }
}

void Predictor::score(std::size_t index, const ClientProfile& profile, Nanoseconds now_tai_ns) {
  if (now_tai_ns - profile.last_tai_ns > options_.forget_after_ns) return;
  ++summary_.profiles;
  const auto path = paths_.find(profile.session_id);
  const PathHistory* history = nullptr;
  if (path != paths_.end()) {
    path->second.present = true;
    history = &path->second.history;
  }
  if (history != nullptr || profile.path_p50.samples > 0) ++summary_.with_path;
  const FeatureVector features = features_of(profile, history, now_tai_ns);
  ClientScore result = score_of(profile, features);
  result.index = static_cast<std::uint32_t>(index);
  if (!result.warming) judge(result, features);
  scores_.push_back(result);
  if (result.warming) {
    ++summary_.warming;
    return;
  }
  summary_.score_mean += static_cast<double>(result.score);
  summary_.score_max = std::max(summary_.score_max, static_cast<double>(result.score));
  if (result.suspect) {
    ++summary_.suspects;
    ++summary_.causes[static_cast<std::size_t>(result.cause)];
  }
}

void Predictor::judge(ClientScore& result, const FeatureVector& features) {
  Row row;
  std::copy(features.begin(), features.end(), row.begin());
  const double score = model_.score(row);
  result.strangeness = static_cast<float>(model_.strangeness(score));
  summary_.calibrated = model_.calibrated_for(options_.alarm_rate);
  result.suspect = summary_.calibrated ? model_.alarm(score, options_.alarm_rate)
                                       : result.score >= options_.suspect_at;
  if (result.suspect && summary_.calibrated) {
    result.cause = static_cast<Feature>(model_.explain(row).front().feature);
  }
  // Each client of the step with the same chance (reservoir sampling, J. S. Vitter, 1985).
  ++offered_;
  if (lesson_.size() < options_.learn_max) {
    lesson_.push_back(row);
  } else if (const std::uint64_t at = random_.below(offered_); at < lesson_.size()) {
    lesson_[at] = row;
  }
}

// Alarms are learnt too: thresholds that never see what passes them creep, and cry ever more often.
void Predictor::learn() {
  for (const Row& row : lesson_) model_.learn(row);
  learnt_ += lesson_.size();
  summary_.learnt = learnt_;
}

// The history of a session that is gone is dropped, so that the map is bounded by the sessions.
void Predictor::forget_paths() {
  std::erase_if(paths_, [](const auto& entry) { return !entry.second.present; });
  for (auto& [session, path] : paths_) path.present = false;
}

}  // namespace driftlock
