#include "src/predict/profile.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace driftlock {
namespace {

constexpr std::uint16_t kRecentMix = 64;
constexpr std::uint16_t kUsualMix = 1024;
constexpr std::uint32_t kTransitWindow = 256;

template <std::size_t N>
void count(std::array<Cell<std::uint16_t>, N>& counts, Cell<std::uint16_t>& total, std::size_t kind,
           std::uint16_t limit) {
  counts[kind] = static_cast<std::uint16_t>(counts[kind] + 1);
  total = static_cast<std::uint16_t>(total + 1);
  if (total < limit) return;
  std::uint16_t sum = 0;
  for (auto& one : counts) {
    one = static_cast<std::uint16_t>(one / 2);
    sum = static_cast<std::uint16_t>(sum + one);
  }
  total = sum;
}

bool disappoints(wire::Status status) {
  return status != wire::Status::kOk && status != wire::Status::kQueued;
}

}  // namespace

float rough_log2(Nanoseconds duration_ns) {
  const auto value = static_cast<float>(std::max<Nanoseconds>(duration_ns, 1));
  constexpr float kPerOctave = 1.0F / 8388608.0F;  // 2^-23: the mantissa's bits
  return static_cast<float>(std::bit_cast<std::uint32_t>(value)) * kPerOctave - 127.0F;
}

void Trend::add(float value) {
  const std::uint32_t n = samples + 1;
  samples = n;
  // Until a horizon is filled its mean is the plain one. A division is slow, and soon needless.
  float recent_weight = 1.0F / kRecentSamples;
  float usual_weight = 1.0F / kUsualSamples;
  if (n < static_cast<std::uint32_t>(kUsualSamples)) {
    usual_weight = 1.0F / static_cast<float>(n);
    recent_weight = std::max(recent_weight, usual_weight);
  }
  const float recent_now = recent;
  const float usual_now = usual;
  const float error = value - usual_now;
  recent = recent_now + recent_weight * (value - recent_now);
  usual = usual_now + usual_weight * error;
  variance = (1.0F - usual_weight) * (variance + usual_weight * error * error);
}

void OperationMix::add(wire::Op op) {
  const auto kind = static_cast<std::size_t>(op) < kKinds ? static_cast<std::size_t>(op) : 0;
  count(recent, recent_total, kind, kRecentMix);
  count(usual, usual_total, kind, kUsualMix);
}

float OperationMix::shift() const {
  if (recent_total == 0 || usual_total == 0) return 0.0F;
  float distance = 0.0F;
  for (std::size_t i = 0; i < kKinds; ++i) {
    distance += std::fabs(static_cast<float>(recent[i]) / static_cast<float>(recent_total) -
                          static_cast<float>(usual[i]) / static_cast<float>(usual_total));
  }
  return distance / 2.0F;
}

AccessSketch::AccessSketch() {
  for (auto& bin : window) bin = kEmpty;
  for (auto& bin : before) bin = kEmpty;
}

void AccessSketch::add(std::uint64_t key_hash) {
  // Spread again: a shard's keys share bits of their hash.
  const std::uint64_t mixed = key_hash * 0x9E3779B97F4A7C15U;
  Cell<std::uint16_t>& bin = window[mixed >> 59];
  const auto value = static_cast<std::uint16_t>((mixed >> 32) & 0x7FFF);
  if (value < bin) bin = value;
  in_window = static_cast<std::uint16_t>(in_window + 1);
  if (in_window >= kWindowOperations) roll();
}

void AccessSketch::roll() {
  int filled = 0;
  int equal = 0;
  for (std::size_t i = 0; i < kBins; ++i) {
    const std::uint16_t now = window[i];
    const std::uint16_t then = before[i];
    filled += now != kEmpty || then != kEmpty;
    equal += now != kEmpty && now == then;
    before[i] = now;
    window[i] = kEmpty;
  }
  in_window = 0;
  if (windows > 0) {
    change.add(1.0F - static_cast<float>(equal) / static_cast<float>(std::max(filled, 1)));
  }
  windows = static_cast<std::uint16_t>(std::min(windows + 1, 0xFFFF));
}

ClientProfile::ClientProfile(const ClientProfile& other)
    : sequence(0),
      operations(other.operations),
      session_id(other.session_id),
      client_id(other.client_id),
      first_tai_ns(other.first_tai_ns),
      last_tai_ns(other.last_tai_ns),
      lease_end_ns(other.lease_end_ns),
      term_ns(other.term_ns),
      transit_floor_ns(other.transit_floor_ns),
      transit_floor_next_ns(other.transit_floor_next_ns),
      transit_samples(other.transit_samples),
      holding(other.holding),
      gap(other.gap),
      waited(other.waited),
      transit(other.transit),
      failures(other.failures),
      clock_residual(other.clock_residual),
      behaviour_residual(other.behaviour_residual),
      path_p50(other.path_p50),
      path_p99(other.path_p99),
      path_unanswered(other.path_unanswered),
      mix(other.mix),
      access(other.access) {}

void ClientProfile::begin(const Activity& activity) {
  operations = 0;
  session_id = activity.session_id;
  client_id = activity.client_id;
  first_tai_ns = activity.received_tai_ns;
  last_tai_ns = activity.received_tai_ns;
  lease_end_ns = 0;
  term_ns = 0;
  transit_samples = 0;
  holding = 0;
  gap = waited = transit = failures = clock_residual = behaviour_residual = Trend{};
  path_p50 = path_p99 = path_unanswered = Trend{};
  mix = OperationMix{};
  access = AccessSketch{};
}

void ClientProfile::update_transit(Nanoseconds transit_ns) {
  const std::uint32_t n = transit_samples;
  if (n == 0) {
    transit_floor_ns = transit_ns;
    transit_floor_next_ns = transit_ns;
  } else if (n % kTransitWindow == 0) {
    transit_floor_ns = std::min<Nanoseconds>(transit_floor_next_ns, transit_ns);
    transit_floor_next_ns = transit_ns;
  } else {
    transit_floor_ns = std::min<Nanoseconds>(transit_floor_ns, transit_ns);
    transit_floor_next_ns = std::min<Nanoseconds>(transit_floor_next_ns, transit_ns);
  }
  transit_samples = n + 1;
  transit.add(rough_log2(transit_ns - transit_floor_ns + 1));
}

void ClientProfile::update(const Activity& activity) {
  operations = operations + 1;
  const Nanoseconds gap_ns = activity.received_tai_ns - last_tai_ns;
  // The operations of one datagram came together: they have one gap, one transit.
  if (gap_ns > 0) gap.add(rough_log2(gap_ns));
  if (gap_ns > 0 || transit_samples == 0) {
    last_tai_ns = std::max<Nanoseconds>(last_tai_ns, activity.received_tai_ns);
    waited.add(rough_log2(activity.waited_ns));
    update_transit(activity.transit_ns);
  }
  if (activity.term_ns > 0 && activity.lease_end_ns > 0) {
    lease_end_ns = activity.lease_end_ns;
    term_ns = activity.term_ns;
  }
  failures.add(disappoints(activity.status) ? 1.0F : 0.0F);
  mix.add(activity.op);
  if (activity.key_hash != 0) access.add(activity.key_hash);
  if (activity.status != wire::Status::kOk) return;
  if (activity.op == wire::Op::kAcquire) {
    holding = holding + 1;
  } else if (activity.op == wire::Op::kRelease) {
    holding = holding - 1;
    clock_residual.add(rough_log2(std::abs(activity.clock_residual_ns)));
    if (activity.behaviour_residual_ns != 0) {
      behaviour_residual.add(rough_log2(std::abs(activity.behaviour_residual_ns)));
    }
  }
}

void ClientProfile::update_path(const PathReport& report) {
  if (report.replies > 0) {
    path_p50.add(rough_log2(report.p50_ns));
    path_p99.add(rough_log2(report.p99_ns));
  }
  if (report.requests > 0) {
    path_unanswered.add(1.0F -
                        static_cast<float>(report.replies) / static_cast<float>(report.requests));
  }
}

template <typename Change>
void ProfileRecorder::write(ClientProfile& profile, const Change& change) {
  const std::uint32_t sequence = profile.sequence.load(std::memory_order_relaxed);
  profile.sequence.store(sequence + 1, std::memory_order_relaxed);
  // The odd sequence becomes visible before any field changes.
  std::atomic_thread_fence(std::memory_order_release);
  change();
  profile.sequence.store(sequence + 2, std::memory_order_release);
}

void ProfileRecorder::observe(const Activity& activity) {
  if (!table_.recording()) return;
  ClientProfile& profile = table_.at(activity.session_index);
  write(profile, [&] {
    if (profile.session_id != activity.session_id) profile.begin(activity);
    profile.update(activity);
    if (activity.op == wire::Op::kClose && activity.status == wire::Status::kOk) {
      profile.session_id = 0;
    }
  });
}

// A session that has not asked for anything yet has no profile to add to.
void ProfileRecorder::observe_path(const PathReport& report) {
  ClientProfile& profile = table_.at(report.session_index);
  if (profile.session_id != report.session_id) return;
  write(profile, [&] { profile.update_path(report); });
}

}  // namespace driftlock
