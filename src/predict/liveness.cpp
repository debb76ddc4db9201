#include "src/predict/liveness.hpp"

#include <algorithm>
#include <cmath>

#include "src/predict/adaptive_liveness.hpp"

namespace driftlock {
namespace {

constexpr std::size_t kLongWindow = 1000;
constexpr std::size_t kShortWindow = 16;

Nanoseconds rounded(double value) {
  return static_cast<Nanoseconds>(value);
}

// Mean and spread of the last gaps.
class GapWindow {
 public:
  explicit GapWindow(std::size_t size) : size_(size) {}

  void add(double gap) {
    gaps_.push_back(gap);
    sum_ += gap;
    squares_ += gap * gap;
    if (gaps_.size() <= size_) return;
    sum_ -= gaps_.front();
    squares_ -= gaps_.front() * gaps_.front();
    gaps_.pop_front();
  }
  [[nodiscard]] bool empty() const { return gaps_.empty(); }
  [[nodiscard]] double mean() const { return sum_ / static_cast<double>(gaps_.size()); }
  [[nodiscard]] double deviation() const {
    const double mean_gap = mean();
    return std::sqrt(
        std::max(squares_ / static_cast<double>(gaps_.size()) - mean_gap * mean_gap, 0.0));
  }

 private:
  const std::size_t size_;
  std::deque<double> gaps_;
  double sum_ = 0.0;
  double squares_ = 0.0;
};

// Keeps the last arrival; a derived one keeps what it needs of the gaps.
class GapDetector : public FailureDetector {
 public:
  void arrived(Nanoseconds now_ns) final {
    if (last_ns_ != kNever) learn(static_cast<double>(now_ns - last_ns_));
    last_ns_ = now_ns;
  }
  [[nodiscard]] Nanoseconds suspect_at() const final {
    if (last_ns_ == kNever) return kNever;
    const double patience = patience_ns();
    return patience < 0.0 ? kNever : saturating_add(last_ns_, rounded(patience));
  }

 protected:
  virtual void learn(double gap_ns) = 0;
  [[nodiscard]] virtual double patience_ns() const = 0;  // below 0: too early to say

 private:
  Nanoseconds last_ns_ = kNever;
};

class Fixed final : public GapDetector {
 public:
  explicit Fixed(double timeout_ms) : timeout_ns_(timeout_ms * 1e6) {}

 private:
  void learn(double) override {}
  [[nodiscard]] double patience_ns() const override { return timeout_ns_; }
  const double timeout_ns_;
};

// z with P(Z > z) = 10^-phi, by bisection: once, at construction.
double normal_quantile_of_phi(double phi) {
  double low = -8.0;
  double high = 38.0;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2.0;
    const double tail = 0.5 * std::erfc(middle / std::sqrt(2.0));
    (tail > std::pow(10.0, -phi) ? low : high) = middle;
  }
  return low;
}

class Phi final : public GapDetector {
 public:
  Phi(double phi, bool exponential)
      : exponential_(exponential),
        factor_(exponential ? phi * std::log(10.0) : normal_quantile_of_phi(phi)) {}

 private:
  void learn(double gap_ns) override { gaps_.add(gap_ns); }
  [[nodiscard]] double patience_ns() const override {
    if (gaps_.empty()) return -1.0;
    return exponential_ ? factor_ * gaps_.mean() : gaps_.mean() + factor_ * gaps_.deviation();
  }
  const bool exponential_;
  const double factor_;
  GapWindow gaps_{kLongWindow};
};

// The expected next arrival, from the last `window` ones: their mean shifted by half of the window.
class ArrivalEstimate {
 public:
  explicit ArrivalEstimate(std::size_t window) : window_(window) {}
  void add(Nanoseconds now_ns) {
    arrivals_.push_back(now_ns);
    if (arrivals_.size() > window_ + 1) arrivals_.pop_front();
  }
  [[nodiscard]] bool ready() const { return arrivals_.size() >= 2; }
  [[nodiscard]] double gap() const {
    return static_cast<double>(arrivals_.back() - arrivals_.front()) /
           static_cast<double>(arrivals_.size() - 1);
  }
  // Mean over i of (A_i + (n - i) gap), without the sum: arrivals are summed as they come.
  [[nodiscard]] Nanoseconds next() const {
    double late = 0.0;
    const double mean_gap = gap();
    const std::size_t count = std::min(arrivals_.size(), kAveraged);
    for (std::size_t i = 0; i < count; ++i) {
      const Nanoseconds arrival = arrivals_[arrivals_.size() - 1 - i];
      late += static_cast<double>(arrival - arrivals_.back()) + static_cast<double>(i) * mean_gap;
    }
    return arrivals_.back() + rounded(late / static_cast<double>(count) + mean_gap);
  }

 private:
  static constexpr std::size_t kAveraged = 16;
  const std::size_t window_;
  std::deque<Nanoseconds> arrivals_;
};

class Chen final : public FailureDetector {
 public:
  Chen(double margin_ms, bool two_windows)
      : margin_ns_(rounded(margin_ms * 1e6)), two_windows_(two_windows) {}
  void arrived(Nanoseconds now_ns) override {
    long_.add(now_ns);
    short_.add(now_ns);
  }
  [[nodiscard]] Nanoseconds suspect_at() const override {
    if (!long_.ready()) return kNever;
    const Nanoseconds next = two_windows_ ? std::max(long_.next(), short_.next()) : long_.next();
    return saturating_add(next, margin_ns_);
  }

 private:
  const Nanoseconds margin_ns_;
  const bool two_windows_;
  ArrivalEstimate long_{kLongWindow};
  ArrivalEstimate short_{kShortWindow / 4};
};

class Bertier final : public FailureDetector {
 public:
  explicit Bertier(double factor) : factor_(factor) {}
  void arrived(Nanoseconds now_ns) override {
    if (estimate_.ready()) {
      constexpr double kGain = 0.1;
      const double error = static_cast<double>(now_ns - estimate_.next()) - delay_;
      delay_ += kGain * error;
      variation_ += kGain * (std::fabs(error) - variation_);
    }
    estimate_.add(now_ns);
  }
  [[nodiscard]] Nanoseconds suspect_at() const override {
    if (!estimate_.ready()) return kNever;
    return saturating_add(estimate_.next(), rounded(delay_ + factor_ * variation_));
  }

 private:
  const double factor_;
  ArrivalEstimate estimate_{kLongWindow};
  double delay_ = 0.0;
  double variation_ = 0.0;
};

class Ours final : public FailureDetector {
 public:
  explicit Ours(double rate) : rate_(rate) {}
  void arrived(Nanoseconds now_ns) override { liveness_.arrived(now_ns); }
  [[nodiscard]] Nanoseconds suspect_at() const override { return liveness_.suspect_at(rate_); }

 private:
  const double rate_;
  AdaptiveLiveness liveness_{kMillisecond};
};

}  // namespace

const std::vector<DetectorKind>& detector_kinds() {
  static const std::vector<DetectorKind> kKinds = {
      {"fixed",
       "timeout_ms",
       {20, 50, 102, 105, 110, 120, 150, 210, 220, 310, 410, 510, 810, 1600}},
      {"phi-normal", "phi", {0.5, 1, 2, 3, 5, 8, 16, 32, 64, 128}},
      {"phi-exp", "phi", {0.45, 0.5, 0.6, 0.7, 1, 1.5, 2, 4}},
      {"chen", "margin_ms", {2, 5, 10, 20, 50, 110, 150, 210, 310, 410, 810}},
      {"bertier", "factor", {1, 2, 4, 8, 16, 32, 64}},
      {"2w", "margin_ms", {2, 5, 10, 20, 50, 110, 150, 210, 310, 410, 810}},
      {"ours",
       "rate",
       {0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 5e-3, 3e-3, 2e-3, 1e-3, 5e-4, 3e-4, 1e-4, 3e-5, 1e-5,
        1e-6}}};
  return kKinds;
}

std::unique_ptr<FailureDetector> make_detector(std::string_view kind, double parameter) {
  if (kind == "fixed") return std::make_unique<Fixed>(parameter);
  if (kind == "phi-normal") return std::make_unique<Phi>(parameter, false);
  if (kind == "phi-exp") return std::make_unique<Phi>(parameter, true);
  if (kind == "chen") return std::make_unique<Chen>(parameter, false);
  if (kind == "2w") return std::make_unique<Chen>(parameter, true);
  if (kind == "bertier") return std::make_unique<Bertier>(parameter);
  if (kind == "ours") return std::make_unique<Ours>(parameter);
  return nullptr;
}

}  // namespace driftlock
