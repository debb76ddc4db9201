#include "tools/clock/commands.hpp"

#include <CLI/CLI.hpp>
#include <memory>

#include "tools/clock/analyze.hpp"
#include "tools/clock/record.hpp"
#include "tools/clock/replay_command.hpp"

namespace driftlock::cli {
namespace {

void add_series_options(CLI::App& app, SeriesOptions& series) {
  app.add_option("file", series.file, "the record: one value a line, # begins a comment")
      ->required();
  app.add_option("--input", series.input,
                 "what the values are: phase in seconds, frequency in Hz, relative frequency, "
                 "offset in ns, or samples as `record` writes them")
      ->check(CLI::IsMember({"phase-s", "freq-hz", "freq", "offset", "samples"}))
      ->capture_default_str();
  app.add_option("--tau", series.interval_s, "seconds between values")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--nominal-hz", series.nominal_hz,
                 "of freq-hz [the first value, rounded to four digits]");
  app.add_option("--scale", series.scale, "factor on each value")->capture_default_str();
  app.add_option("--column", series.column, "which column holds it")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
}

void add_analyze(CLI::App& clock, const ChooseClockCommand& choose) {
  auto options = std::make_shared<AnalyzeOptions>();
  CLI::App* app = clock.add_subcommand("analyze", "stability of a recorded clock: ADEV to MTIE");
  app->fallthrough();
  add_series_options(*app, options->series);
  app->add_option("--averaging", options->averaging, "averaging factors, 1,2,10 [octaves]")
      ->delimiter(',');
  app->add_option("--svg", options->svg, "draw the deviations into this file");
  app->parse_complete_callback([choose, options] {
    choose([options](bool json) { return analyze_command(*options, json); });
  });
}

void add_replay(CLI::App& clock, const ChooseClockCommand& choose) {
  auto options = std::make_shared<ReplayCommandOptions>();
  auto outliers = std::make_shared<std::vector<double>>();
  CLI::App* app = clock.add_subcommand(
      "replay", "run the clock model over a recorded oscillator and score its forecasts");
  app->fallthrough();
  add_series_options(*app, options->series);
  ReplayOptions& replay = options->replay;
  app->add_option("--noise", replay.noise_ns, "Gaussian noise on each sample, ns")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_option("--outliers", *outliers, "P,NS: that share of samples is off by NS, one-sided")
      ->delimiter(',')
      ->expected(2);
  app->add_option("--horizons", replay.horizons_s, "seconds ahead [10,100,1000,3600]")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app->add_option("--warmup", replay.warmup_s,
                  "errors count after this many seconds, or a fifth of the record")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_option("--max-drift", replay.worst_case_drift_ppb, "worst-case drift, ppb")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_option("--seed", replay.seed, "of the noise")->capture_default_str();
  app->add_flag("--baselines", replay.baselines, "also PI servos and regressions");
  app->parse_complete_callback([choose, options, outliers] {
    if (outliers->size() == 2) {
      options->replay.outlier_probability = (*outliers)[0];
      options->replay.outlier_ns = (*outliers)[1];
    }
    choose([options](bool json) { return replay_command(*options, json); });
  });
}

void add_simulate(CLI::App& clock, const ChooseClockCommand& choose) {
  auto options = std::make_shared<SimulateOptions>();
  CLI::App* app = clock.add_subcommand(
      "simulate", "a long simulated run with faults; exit code 1 where the hard bound failed");
  app->fallthrough();
  app->add_option("--samples", options->run.samples, "how many")->capture_default_str();
  app->add_option("--noise-type", options->noise,
                  "all, white-phase, white-frequency, flicker-frequency, random-walk-frequency or "
                  "drift")
      ->capture_default_str();
  app->add_option("--faults", options->run.faults_per_sample, "faults per sample")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app->add_option("--seed", options->run.seed, "of everything")->capture_default_str();
  app->parse_complete_callback([choose, options] {
    choose([options](bool json) { return simulate_command(*options, json); });
  });
}

void add_record(CLI::App& clock, const ChooseClockCommand& choose) {
  auto options = std::make_shared<RecordOptions>();
  CLI::App* app = clock.add_subcommand("record", "write the samples of this machine's source");
  app->fallthrough();
  app->add_option("--ptp4l-events", options->ptp4l_events,
                  "also ptp4l's event timestamps: the path in its slave_event_monitor");
  app->add_option("--source", options->source, "system, chrony, or phc:/dev/ptpN")
      ->capture_default_str();
  app->add_option("--interval", options->interval_s, "seconds between samples")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--count", options->count, "how many [until Ctrl-C]");
  app->add_option("--out", options->out, "file; - is the standard output")->capture_default_str();
  app->parse_complete_callback(
      [choose, options] { choose([options](bool) { return record_command(*options); }); });
}

}  // namespace

void add_clock_commands(CLI::App& clock, const ChooseClockCommand& choose) {
  add_analyze(clock, choose);
  add_replay(clock, choose);
  add_simulate(clock, choose);
  add_record(clock, choose);
}

}  // namespace driftlock::cli
