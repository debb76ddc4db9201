// Calibration: what became of earlier predictions made with the same confidence, so that a
// confidence is a measured frequency and not an opinion. It decays, so that what has changed is
// forgotten. Owned by one thread; pure; allocates nothing.
//
// A prediction names who asks next for a lock that has become free. Had the lock been granted to
// that client in advance for a term T, the next request would have made it:
//   hit      the client asked within T: it would have found the grant with it, or on its way
//   foreign  another asked within T: the grant would have had to be called back
//   idle     nobody asked within T
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace driftlock {

enum class Outcome : std::uint8_t { kHit, kForeign, kIdle };
inline constexpr std::size_t kOutcomes = 3;

class Calibration {
 public:
  static constexpr std::uint32_t kForgetAt = 1024;  // observations; then each counts half

  void add(Outcome outcome) {
    ++counts_[static_cast<std::size_t>(outcome)];
    if (++total_ < kForgetAt) return;
    total_ = 0;
    for (std::uint32_t& count : counts_) total_ += count /= 2;
  }
  [[nodiscard]] std::uint32_t count(Outcome outcome) const {
    return counts_[static_cast<std::size_t>(outcome)];
  }
  [[nodiscard]] std::uint32_t total() const { return total_; }

  // Chance of a hit, one standard error less: what is hardly known is not relied on.
  [[nodiscard]] double hit() const {
    const double n = total_ + 2.0;
    const double p = (count(Outcome::kHit) + 1.0) / n;
    return p - std::sqrt(p * (1.0 - p) / n);
  }
  [[nodiscard]] double foreign() const { return (count(Outcome::kForeign) + 0.5) / (total_ + 1.0); }

 private:
  std::array<std::uint32_t, kOutcomes> counts_{};
  std::uint32_t total_ = 0;
};

}  // namespace driftlock
