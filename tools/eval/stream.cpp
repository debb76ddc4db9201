// driftlock-eval stream: the combined streaming detector on one series (timestamp,value): a score
// per point, an alarm per episode, and the Numenta score (A. Lavin, S. Ahmad, 2015, standard
// profile) where windows are given.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/predict/combined_score.hpp"
#include "src/predict/evaluation.hpp"
#include "tools/eval/commands.hpp"
#include "tools/eval/csv.hpp"
#include "tools/eval/series_features.hpp"

namespace driftlock::eval {
namespace {

struct Options {
  std::string file;
  std::string windows;
  std::string key;
  double rate = 1e-3;
  std::size_t calm = 0;  // points; 0: a day, or 200
  std::uint64_t seed = 1;
  bool quiet = false;
};

// First and last point of a labelled anomaly.
struct Window {
  std::size_t first = 0;
  std::size_t last = 0;
};

struct Point {
  double score = 0.0;  // -ln P of an ordinary point
  bool alarm = false;  // the first of an episode
};

// Points in a day, by the median distance of the timestamps; 0 where they tell none.
std::size_t season_of(const Cells& cells) {
  constexpr double kDay = 86'400.0;
  std::vector<double> steps;
  for (std::size_t i = 1; i < cells.rows.size(); ++i) {
    const double from = seconds_of(cells.rows[i - 1][0]);
    const double to = seconds_of(cells.rows[i][0]);
    if (from >= 0.0 && to > from) steps.push_back(to - from);
  }
  if (steps.empty()) return 0;
  const double points = kDay / quantile_of(steps, 0.5);
  return points >= 4.0 && points <= 5000.0 ? static_cast<std::size_t>(std::lround(points)) : 0;
}

// Judges each point before learning it. An alarm begins an episode, which lasts until nothing has
// been strange for `calm` points: one long change is one alarm.
std::vector<Point> score_series(const Cells& cells, const Options& options) {
  const std::size_t season = season_of(cells);
  const std::size_t calm = options.calm != 0 ? options.calm : season != 0 ? season : 200;
  CombinedStream model(kSeriesFeatures, options.seed, 0.5);
  SeriesFeatures features(season);
  std::vector<Point> points;
  std::size_t quiet = calm;
  double before = 0.0;
  for (const auto& line : cells.rows) {
    char* end = nullptr;
    const double read = std::strtod(line[1].c_str(), &end);
    const double value = end == line[1].c_str() || !std::isfinite(read) ? before : read;
    before = value;
    const auto row = features.next(value);
    Point point;
    point.score = model.strangeness(model.score(row));
    const bool strange = point.score >= -std::log(options.rate);
    point.alarm = strange && quiet >= calm;
    quiet = strange ? 0 : quiet + 1;
    points.push_back(point);
    model.learn(row);
  }
  return points;
}

// The file of windows is the benchmark's: {"group/file.csv": [["start", "end"], ...]}.
std::vector<Window> read_windows(const Options& options, const Cells& cells) {
  std::ifstream file(options.windows);
  const auto json = nlohmann::json::parse(file, nullptr, false);
  std::vector<Window> windows;
  if (json.is_discarded()) return windows;
  const std::string name = options.file.substr(options.file.rfind('/') + 1);
  for (const auto& [key, spans] : json.items()) {
    if (options.key.empty() ? !key.ends_with("/" + name) : key != options.key) continue;
    for (const auto& span : spans) {
      // Timestamps sort as text; the file of windows adds fractions of a second.
      const std::string start = span.at(0).get<std::string>().substr(0, 19);
      const std::string end = span.at(1).get<std::string>().substr(0, 19);
      Window window{cells.rows.size(), 0};
      for (std::size_t i = 0; i < cells.rows.size(); ++i) {
        if (cells.rows[i][0] < start || cells.rows[i][0] > end) continue;
        window.first = std::min(window.first, i);
        window.last = i;
      }
      if (window.first < cells.rows.size()) windows.push_back(window);
    }
  }
  std::sort(windows.begin(), windows.end(),
            [](const Window& a, const Window& b) { return a.first < b.first; });
  return windows;
}

double sigmoid(double position) {
  return 2.0 / (1.0 + std::exp(5.0 * position)) - 1.0;
}

// The worth of an alarm at `point`: early in a window is good, far behind one is as bad as
// anywhere.
double false_alarm_worth(std::size_t point, const std::vector<Window>& windows) {
  constexpr double kFalsePositive = 0.11;
  double worth = -1.0;
  for (const Window& window : windows) {
    if (window.last >= point) continue;
    const auto length = static_cast<double>(window.last - window.first + 1);
    const double behind = static_cast<double>(point - window.last) / length;
    worth = behind > 3.0 ? -1.0 : sigmoid(behind);
  }
  return kFalsePositive * worth;
}

// 100 for a perfect detector, 0 for a silent one. The first 15% of the series, at most 750 points,
// are for learning.
double numenta_score(const std::vector<Point>& points, const std::vector<Window>& windows,
                     std::size_t& false_alarms, std::size_t& found) {
  const std::size_t probation = std::min<std::size_t>(points.size() * 15 / 100, 750);
  std::vector<bool> seen(windows.size());
  double sum = 0.0;
  for (std::size_t i = probation; i < points.size(); ++i) {
    if (!points[i].alarm) continue;
    const auto in = std::find_if(windows.begin(), windows.end(), [&](const Window& window) {
      return window.first <= i && i <= window.last;
    });
    if (in == windows.end()) {
      sum += false_alarm_worth(i, windows);
      ++false_alarms;
      continue;
    }
    const auto index = static_cast<std::size_t>(in - windows.begin());
    if (seen[index]) continue;
    seen[index] = true;
    ++found;
    const auto length = static_cast<double>(in->last - in->first + 1);
    sum += sigmoid(-static_cast<double>(in->last - i + 1) / length) / sigmoid(-1.0);
  }
  const auto count = static_cast<double>(windows.size());
  sum -= count - static_cast<double>(found);
  return 100.0 * (sum + count) / (2.0 * count);
}

void run(const Options& options) {
  auto cells = read_cells(options.file);
  if (!cells || cells->rows.front().size() < 2) {
    std::fprintf(stderr, "%s\n",
                 cells ? "columns timestamp,value are needed" : cells.error().message.c_str());
    throw CLI::RuntimeError(1);
  }
  const std::vector<Point> points = score_series(*cells, options);
  if (!options.quiet) {
    std::printf("timestamp,value,score,alarm\n");
    for (std::size_t i = 0; i < points.size(); ++i) {
      const auto& line = cells->rows[i];
      std::printf("%s,%s,%.4f,%d\n", line[0].c_str(), line[1].c_str(), points[i].score,
                  points[i].alarm ? 1 : 0);
    }
  }
  if (options.windows.empty()) return;
  const std::vector<Window> windows = read_windows(options, *cells);
  if (windows.empty()) {
    std::fprintf(stderr, "%s: no windows for this file; name them with --key\n",
                 options.windows.c_str());
    throw CLI::RuntimeError(1);
  }
  std::size_t false_alarms = 0;
  std::size_t found = 0;
  const double score = numenta_score(points, windows, false_alarms, found);
  std::printf("points=%zu windows=%zu found=%zu false_alarms=%zu rate=%g nab_score=%.1f\n",
              points.size(), windows.size(), found, false_alarms, options.rate, score);
}

}  // namespace

void add_stream(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("stream", "a score per point of a series timestamp,value");
  command->add_option("file", options->file, "CSV: timestamp,value")->required();
  command->add_option("--windows", options->windows, "JSON: labelled windows, for the NAB score");
  command->add_option("--key", options->key, "the file's name in the windows, where it differs");
  command->add_option("--rate", options->rate, "false alarms per point asked for")
      ->capture_default_str();
  command->add_option("--calm", options->calm,
                      "points without alarm that end an episode; 0: a day's");
  command->add_option("--seed", options->seed)->capture_default_str();
  command->add_flag("--quiet", options->quiet, "the NAB score alone");
  command->callback([options] { run(*options); });
}

}  // namespace driftlock::eval
