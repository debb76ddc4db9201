// MetricWriter: gathers Prometheus families one after another in the fewest words. Used at a
// scrape, by the thread that serves it.
#pragma once

#include <prometheus/metric_family.h>

#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace driftlock {

template <typename T>
[[nodiscard]] double seconds(T nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e9;  // exact where * 1e-9 is not: it is read by people
}

class MetricWriter {
 public:
  using Labels = std::initializer_list<std::pair<const char*, std::string>>;

  // Each begins a family; value() adds a series to it.
  void counter(const char* name, const char* help) {
    families_.push_back({name, help, prometheus::MetricType::Counter, {}});
  }
  void gauge(const char* name, const char* help) {
    families_.push_back({name, help, prometheus::MetricType::Gauge, {}});
  }
  template <typename T>
  void value(T number, const Labels& labels) {
    prometheus::ClientMetric& series = families_.back().metric.emplace_back();
    for (const auto& [name, text] : labels) series.label.push_back({name, text});
    if (families_.back().type == prometheus::MetricType::Counter) {
      series.counter.value = static_cast<double>(number);
    } else {
      series.gauge.value = static_cast<double>(number);
    }
  }

  // Families of one series.
  template <typename T>
  void counter(const char* name, const char* help, T number) {
    counter(name, help);
    value(number, {});
  }
  template <typename T>
  void gauge(const char* name, const char* help, T number) {
    gauge(name, help);
    value(number, {});
  }
  // A family of one histogram: add its buckets in order, each with its own count, then close it
  // with what lies beyond the last and the sum of all.
  void histogram(const char* name, const char* help) {
    families_.push_back({name, help, prometheus::MetricType::Histogram, {}});
    families_.back().metric.emplace_back();
  }
  void bucket(std::uint64_t count, double bound_s) {
    auto& out = families_.back().metric.back().histogram;
    out.sample_count += count;
    out.bucket.push_back({out.sample_count, bound_s});
  }
  void end_histogram(std::uint64_t beyond, double sum_s) {
    bucket(beyond, std::numeric_limits<double>::infinity());
    families_.back().metric.back().histogram.sample_sum = sum_s;
  }

  [[nodiscard]] std::vector<prometheus::MetricFamily> take() { return std::move(families_); }

 private:
  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace driftlock
