#include "tools/clock/plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace driftlock::cli {
namespace {

constexpr double kWidth = 760;
constexpr double kHeight = 520;
constexpr double kLeft = 80;
constexpr double kRight = 20;
constexpr double kTop = 50;
constexpr double kBottom = 60;

// Log10 ranges in whole decades, and where they lie on the page.
struct Axes {
  double x0 = 0, x1 = 1, y0 = 0, y1 = 1;
  [[nodiscard]] double x(double tau) const {
    return kLeft + (std::log10(tau) - x0) / (x1 - x0) * (kWidth - kLeft - kRight);
  }
  [[nodiscard]] double y(double value) const {
    return kHeight - kBottom - (std::log10(value) - y0) / (y1 - y0) * (kHeight - kTop - kBottom);
  }
};

template <typename... Args>
void append(std::string& out, const char* format, Args... args) {
  std::array<char, 512> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, args...);
  out += buffer.data();
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

void grid(std::string& out, const Axes& axes) {
  for (double d = axes.x0; d <= axes.x1; ++d) {
    const double x = axes.x(std::pow(10.0, d));
    append(out, "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' stroke='#ddd'/>", x, x, kTop,
           kHeight - kBottom);
    append(out, "<text x='%.1f' y='%.1f' text-anchor='middle'>1e%.0f</text>", x,
           kHeight - kBottom + 18, d);
  }
  for (double d = axes.y0; d <= axes.y1; ++d) {
    const double y = axes.y(std::pow(10.0, d));
    append(out, "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' stroke='#ddd'/>", kLeft,
           kWidth - kRight, y, y);
    append(out, "<text x='%.1f' y='%.1f' text-anchor='end'>1e%.0f</text>", kLeft - 8, y + 4, d);
  }
  append(out, "<text x='%.1f' y='%.1f' text-anchor='middle'>averaging time, s</text>",
         (kLeft + kWidth - kRight) / 2, kHeight - 18);
}

template <typename Value>
void curve(std::string& out, const Axes& axes, const std::vector<Deviations>& deviations,
           Value value, const char* style) {
  out += "<polyline fill='none' ";
  out += style;
  out += " points='";
  for (const Deviations& at : deviations) {
    if (value(at) > 0.0) append(out, "%.1f,%.1f ", axes.x(at.tau_s), axes.y(value(at)));
  }
  out += "'/>\n";
}

double fitted(const NoiseFit& fit, double tau) {
  const double r = fit.white_phase_ns * fit.white_phase_ns;
  const ProcessNoise& q = fit.process;
  return 1e-9 * std::sqrt(3.0 * r / (tau * tau) + q.q1 / tau + q.q2 * tau / 3.0 +
                          q.q3 * tau * tau * tau / 20.0);
}

Axes axes_for(const std::vector<Deviations>& deviations) {
  double low = 1e300;
  double high = 0.0;
  for (const Deviations& at : deviations) {
    for (const double v : {at.adev, at.oadev, at.mdev}) {
      if (v <= 0.0) continue;
      low = std::min(low, v);
      high = std::max(high, v);
    }
  }
  if (high == 0.0) low = high = 1.0;
  Axes axes;
  axes.x0 = std::floor(std::log10(deviations.front().tau_s));
  axes.x1 = std::max(std::ceil(std::log10(deviations.back().tau_s)), axes.x0 + 1);
  axes.y0 = std::floor(std::log10(low));
  axes.y1 = std::max(std::ceil(std::log10(high)), axes.y0 + 1);
  return axes;
}

}  // namespace

std::string stability_svg(const std::vector<Deviations>& deviations, const NoiseFit& fit,
                          const std::string& title) {
  const Axes axes = axes_for(deviations);
  std::string out;
  append(out,
         "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f' "
         "font-family='sans-serif' font-size='13'>\n<rect width='100%%' height='100%%' "
         "fill='white'/>\n",
         kWidth, kHeight);
  append(out, "<text x='%.1f' y='24' font-size='16'>", kLeft);
  out += escaped(title) + "</text>\n";
  grid(out, axes);
  curve(
      out, axes, deviations, [](const auto& at) { return at.adev; },
      "stroke='#999' stroke-dasharray='3 3'");
  curve(
      out, axes, deviations, [](const auto& at) { return at.oadev; },
      "stroke='#06c' stroke-width='2'");
  curve(
      out, axes, deviations, [](const auto& at) { return at.mdev; },
      "stroke='#c30' stroke-width='2'");
  const auto least = std::pow(10.0, axes.y0);
  curve(
      out, axes, deviations,
      [&](const auto& at) {
        const double v = fitted(fit, at.tau_s);
        return v >= least ? v : 0.0;
      },
      "stroke='#080' stroke-dasharray='7 4'");
  append(out,
         "<text x='%.0f' y='44'><tspan fill='#999'>ADEV</tspan> <tspan fill='#06c'>OADEV</tspan> "
         "<tspan fill='#c30'>MDEV</tspan> <tspan fill='#080'>fit of q1, q2, q3</tspan></text>\n",
         kLeft);
  return out + "</svg>\n";
}

}  // namespace driftlock::cli
