// Log: one line an event, `message key=value ...`, on standard error. For starts, ends and changes
// of state; never for a packet. Any thread but an lcore's.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "src/node/options.hpp"

namespace driftlock {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

struct LogField {
  std::string_view key;
  std::string value;
};

// Once, by the main thread, before there are others.
void start_log(const Options::Log& options);

void log_line(LogLevel level, std::string_view message,
              std::initializer_list<LogField> fields = {});

}  // namespace driftlock
