// driftlock-check: are recorded histories of lock operations linearizable?
#include <CLI/CLI.hpp>
#include <cstdio>

#include "tools/check/linearizability.hpp"

int main(int argc, char** argv) {
  using driftlock::check::Judgement;
  std::vector<std::string> files;
  std::uint64_t configurations_max = driftlock::check::kConfigurationsMax;
  CLI::App app{
      "Says whether recorded histories of lock operations are linearizable. Exit: 0 all are, 1 one "
      "is not, 2 one cannot be read, 3 one could not be decided."};
  app.add_option("history", files, "files of driftlock-sim --history or lock_storm")->required();
  app.add_option("--configurations", configurations_max, "give a lock up after so many")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  int exit_code = 0;
  for (const std::string& file : files) {
    const auto history = driftlock::check::History::read(file);
    if (!history.ok()) {
      std::fprintf(stderr, "%s\n", history.error().message.c_str());
      return 2;
    }
    const auto findings = driftlock::check::check_history(history.value(), configurations_max);
    std::printf("%s: %llu operations on %llu locks, %llu configurations: %s\n", file.c_str(),
                static_cast<unsigned long long>(findings.operations),
                static_cast<unsigned long long>(findings.keys),
                static_cast<unsigned long long>(findings.configurations),
                findings.judgement == Judgement::kLinearizable ? "linearizable"
                : findings.judgement == Judgement::kViolated   ? "NOT LINEARIZABLE"
                                                               : "UNDECIDED");
    if (findings.judgement == Judgement::kLinearizable) continue;
    std::printf("  %s\n", findings.why.c_str());
    if (findings.judgement == Judgement::kViolated) exit_code = 1;
    if (findings.judgement == Judgement::kUndecided && exit_code == 0) exit_code = 3;
  }
  return exit_code;
}
