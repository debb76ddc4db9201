// Draws the stability of a clock as an SVG: deviations against averaging time, both logarithmic.
#pragma once

#include <string>
#include <vector>

#include "src/clock/stability.hpp"

namespace driftlock::cli {

[[nodiscard]] std::string stability_svg(const std::vector<Deviations>& deviations,
                                        const NoiseFit& fit, const std::string& title);

}  // namespace driftlock::cli
