// MetricWriter: gathers Prometheus families one after another in the fewest words. Used at a
// scrape, by the thread that serves it.
#pragma once

#include <prometheus/metric_family.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "src/base/histogram.hpp"

namespace driftlock {

template <typename T>
[[nodiscard]] double seconds(T nanoseconds) {
  return static_cast<double>(nanoseconds) * 1e-9;
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
  void histogram(const char* name, const char* help, const LatencyHistogram& histogram) {
    families_.push_back({name, help, prometheus::MetricType::Histogram, {}});
    auto& out = families_.back().metric.emplace_back().histogram;
    for (int bucket = 0; bucket < LatencyHistogram::kBuckets; ++bucket) {
      out.sample_count += histogram.count(bucket);
      out.bucket.push_back({out.sample_count, seconds(LatencyHistogram::bound_ns(bucket))});
    }
    out.sample_count += histogram.count(LatencyHistogram::kBuckets);
    out.bucket.push_back({out.sample_count, std::numeric_limits<double>::infinity()});
    out.sample_sum = seconds(histogram.sum_ns());
  }

  [[nodiscard]] std::vector<prometheus::MetricFamily> take() { return std::move(families_); }

 private:
  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace driftlock
