// The one file that sees spdlog.
#include "src/node/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace driftlock {
namespace {

constexpr const char* kTimePattern = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr const char* kJournalPattern = "%v";

bool for_journal = false;  // writer: start_log(), before there are other threads

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// What systemd's journal reads at the beginning of a line (sd-daemon(3)).
const char* journal_priority(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "<7>";
    case LogLevel::kInfo:
      return "<6>";
    case LogLevel::kWarning:
      return "<4>";
    case LogLevel::kError:
      return "<3>";
  }
  return "<3>";
}

void append_value(std::string& line, const std::string& value) {
  if (!value.empty() && value.find_first_of(" \t\n\"=") == std::string::npos) {
    line += value;
    return;
  }
  line += '"';
  for (const char c : value) {
    if (c == '\n') {
      line += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') line += '\\';
    line += c;
  }
  line += '"';
}

}  // namespace

void start_log(const Options::Log& options) {
  for_journal = options.format == "journal";
  auto logger = std::make_shared<spdlog::logger>("driftlock",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern(for_journal ? kJournalPattern : kTimePattern, spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::from_str(options.level));
  spdlog::set_default_logger(std::move(logger));
}

void log_line(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  spdlog::logger* logger = spdlog::default_logger_raw();
  if (!logger->should_log(level_of(level))) return;
  std::string line = for_journal ? journal_priority(level) : "";
  line += message;
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  logger->log(level_of(level), "{}", line);
}

}  // namespace driftlock
