#include "tools/sim/runner.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>
#include <thread>

#include "tools/sim/mutation.hpp"

namespace driftlock::sim {

SweepResult sweep(const SimOptions& options, const Sweep& sweep,
                  const std::function<void(std::uint64_t, const Verdict&)>& failed) {
  SweepResult result;
  std::mutex mutex;
  std::atomic<std::uint64_t> next{0};
  const auto work = [&] {
    mutation::activate(sweep.mutation);
    for (std::uint64_t i = next++; i < sweep.seeds; i = next++) {
      SimOptions each = options;
      each.seed = sweep.first + i;
      const Verdict verdict = run_seed(each);
      const std::lock_guard<std::mutex> held(mutex);
      ++result.run;
      result.totals.add(verdict.totals);
      if (verdict.ok) continue;
      ++result.failed;
      if (result.failed == 1 || each.seed < result.failing_seed) {
        result.failing_seed = each.seed;
        result.failure = verdict;
      }
      failed(each.seed, verdict);
      if (sweep.stop_at_first) next = sweep.seeds;
    }
  };
  std::vector<std::thread> threads;
  for (std::uint32_t i = 1; i < sweep.jobs; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  mutation::activate(-1);
  return result;
}

std::vector<std::uint32_t> minimize(const SimOptions& options, const Verdict& failure) {
  std::vector<std::uint32_t> kept;
  if (options.kept) {
    kept = *options.kept;
  } else {
    kept.resize(failure.faults_planned);
    std::iota(kept.begin(), kept.end(), 0U);
  }
  const auto still_fails = [&](const std::vector<std::uint32_t>& subset) {
    SimOptions each = options;
    each.trace = false;
    each.kept = subset;
    const Verdict verdict = run_seed(each);
    return !verdict.ok && verdict.check == failure.check;
  };
  std::size_t parts = 2;
  while (!kept.empty()) {
    bool reduced = false;
    const std::size_t size = (kept.size() + parts - 1) / parts;
    for (std::size_t from = 0; from < kept.size(); from += size) {
      std::vector<std::uint32_t> rest = kept;
      const auto begin = rest.begin() + static_cast<std::ptrdiff_t>(from);
      rest.erase(begin, begin + static_cast<std::ptrdiff_t>(std::min(size, kept.size() - from)));
      if (!still_fails(rest)) continue;
      kept = rest;
      reduced = true;
      break;
    }
    if (reduced) {
      parts = std::max<std::size_t>(parts - 1, 2);
    } else if (size == 1) {
      break;
    } else {
      parts = std::min(parts * 2, kept.size());
    }
  }
  return kept;
}

}  // namespace driftlock::sim
