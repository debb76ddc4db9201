// Questions that take no lock: ping and clock by the protocol, status and holders at the node's
// admin socket (one JSON object per line, either way).
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "src/lock/time_source.hpp"
#include "tools/driftlock/hold.hpp"

namespace driftlock::cli {
namespace {

using nlohmann::json;

class AdminSocket {
 public:
  AdminSocket() : descriptor_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~AdminSocket() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  AdminSocket(const AdminSocket&) = delete;
  AdminSocket& operator=(const AdminSocket&) = delete;

  Status connect_to(const std::string& path, Nanoseconds timeout_ns) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) return Error{path + ": the path is too long"};
    std::copy(path.begin(), path.end(), address.sun_path);
    const timeval timeout{timeout_ns / kSecond, timeout_ns % kSecond / kMicrosecond};
    setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      return done();
    }
    return Error{path + ": " + std::strerror(errno) +
                 " (driftlockd's admin socket, on its own machine; --admin says where)"};
  }

  Result<json> ask(const json& question) {
    const std::string line = question.dump() + "\n";
    if (write(descriptor_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      return Error{std::string("the node takes no question: ") + std::strerror(errno)};
    }
    std::string answer;
    std::array<char, 65536> buffer;
    while (answer.find('\n') == std::string::npos) {
      const ssize_t bytes = read(descriptor_, buffer.data(), buffer.size());
      if (bytes <= 0) return Error{"the node did not answer on its admin socket"};
      answer.append(buffer.data(), static_cast<std::size_t>(bytes));
    }
    json parsed = json::parse(answer, nullptr, false);
    if (parsed.is_discarded()) return Error{"the node's answer is not JSON"};
    if (parsed.contains("error")) {
      const json& reason = parsed["error"];
      return Error{reason.is_string() ? reason.get<std::string>() : reason.dump()};
    }
    return parsed;
  }

 private:
  int descriptor_;
};

Result<json> ask_admin(const Settings& settings, const json& question) {
  AdminSocket admin;
  const Status connected = admin.connect_to(settings.admin, settings.timeout_ns);
  if (!connected.ok()) return connected.error();
  return admin.ask(question);
}

// Absent fields and fields of another type read as nothing: an older node may not know them.
std::string text(const json& object, const char* name) {
  if (!object.is_object() || !object.contains(name)) return "-";
  const json& value = object[name];
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::int64_t number(const json& object, const char* name) {
  if (!object.is_object() || !object.contains(name) || !object[name].is_number()) return 0;
  return object[name].get<std::int64_t>();
}

json member(const json& object, const char* name) {
  return object.is_object() && object.contains(name) ? object[name] : json::object();
}

std::string describe_clock(const json& clock) {
  return "clock     " + text(clock, "state") + "  [" + format_tai(number(clock, "earliest_ns")) +
         ", +" + format_duration(number(clock, "latest_ns") - number(clock, "earliest_ns")) +
         "]  half width " + format_duration(number(clock, "half_width_ns")) + "  sigma " +
         format_duration(number(clock, "sigma_ns")) + "  frequency " +
         text(clock, "frequency_ppb") + " ppb  source " + text(clock, "source");
}

std::string describe_holder(const json& holder) {
  return "\n  client " + text(holder, "client_id") + "  session " + text(holder, "session_id") +
         "  token " + text(holder, "token") + "  held " +
         format_duration(number(holder, "since_ms") * kMillisecond) + "  lease ends in " +
         format_duration(number(holder, "remaining_ms") * kMillisecond);
}

std::string describe_wait(const json& wait) {
  return "\n  waiting: client " + text(wait, "client_id") + "  session " +
         text(wait, "session_id") + "  for " +
         format_duration(number(wait, "waited_ms") * kMillisecond);
}

std::string describe_deadlock(const json& cycle) {
  std::string lines = "\nDEADLOCK, nobody in it will get further:";
  for (const json& edge : cycle) {
    lines += "\n  session " + text(edge, "session_id") + " waits for session " +
             text(edge, "waits_for") + " on " + text(edge, "namespace") + ":" + text(edge, "key") +
             "  since " + format_duration(number(edge, "waited_ms") * kMillisecond);
  }
  return lines;
}

}  // namespace

std::string describe_contention(const json& status) {
  const json contention = member(status, "contention");
  if (!contention.is_object()) return "";
  std::string line = "waits     ";
  if (number(contention, "waits_forecast") == 0) {
    line += "none over yet that was forecast";
  } else {
    line += text(contention, "waits_forecast") + " forecast, mean " +
            format_duration(number(contention, "wait_forecast_mean_us") * kMicrosecond) + " of " +
            format_duration(number(contention, "wait_mean_us") * kMicrosecond) + ", off by " +
            format_duration(number(contention, "wait_forecast_error_mean_us") * kMicrosecond);
  }
  return line + "\nadvances  " + text(contention, "advances") + " out, " +
         text(contention, "advances_made") + " made, " + text(contention, "advances_used") +
         " used, " + text(contention, "advances_recalled") + " called back; " +
         text(contention, "advised") + " advised" +
         (member(contention, "acting") == true ? "" : ", acted on none") + "\n";
}

namespace {

std::string describe_action(const std::string& name, const json& action) {
  std::string line = "\n" + name + std::string(name.size() < 11 ? 11 - name.size() : 1, ' ') +
                     text(action, "done") + " done  " + text(action, "rehearsed") + " rehearsed";
  for (const auto& [outcome, count] : member(action, "outcomes").items()) {
    line += "  " + outcome + " " + count.dump();
  }
  return line;
}

}  // namespace

int predict_command(const Settings& settings, const Report& report) {
  json question{{"command", "predict"}};
  if (!settings.mode.empty()) question["mode"] = settings.mode;
  const Result<json> answer = ask_admin(settings, question);
  if (!answer.ok()) return report.fail(kExitUnreachable, "no_answer", answer.error().message);
  const json& found = answer.value();
  std::string lines = "mode       " + text(found, "mode");
  if (settings.mode.empty()) {
    for (const auto& [name, action] : member(found, "actions").items()) {
      lines += describe_action(name, action);
    }
    lines += "\nrevoked    " + text(found, "revoked") + "\nheld back  " +
             text(found, "out_of_budget") + " by budget  " + text(found, "self_suspicions") +
             " times by self-suspicion  " + text(found, "pauses") + " own pauses";
  }
  report.result(found, lines);
  return kExitOk;
}

int status_command(const Settings& settings, const Report& report) {
  const Result<json> answer = ask_admin(settings, {{"command", "status"}});
  if (!answer.ok()) return report.fail(kExitUnreachable, "no_answer", answer.error().message);
  const json& status = answer.value();
  const json port = member(status, "port");
  report.result(
      status,
      "node      " + text(status, "node") + "  version " + text(status, "version") + "  epoch " +
          text(status, "epoch") + "  up " + format_duration(number(status, "uptime_s") * kSecond) +
          "\nsessions  " + text(status, "sessions") + " of " + text(status, "sessions_max") +
          "\nlocks     " + text(status, "locks") + " of " + text(status, "locks_max") +
          "\nwaiters   " + text(status, "waiters") + " of " + text(status, "waiters_max") + "\n" +
          describe_contention(status) + describe_clock(member(status, "clock")) + "\nport      " +
          text(port, "kind") + "  " + text(port, "device") + "  " + text(port, "address") +
          "  stamps " + text(port, "stamp_source") + "\nmetrics   " + text(status, "metrics"));
  return kExitOk;
}

int holders_command(const Settings& settings, const Report& report) {
  json question{{"command", "holders"}, {"limit", settings.limit}};
  if (settings.waiting) question["waiting"] = true;
  const Result<json> answer = ask_admin(settings, question);
  if (!answer.ok()) return report.fail(kExitUnreachable, "no_answer", answer.error().message);
  std::string lines;
  for (const json& lock : member(answer.value(), "locks")) {
    if (!lines.empty()) lines += "\n";
    lines += text(lock, "namespace") + ":" + text(lock, "key") + "  " + text(lock, "mode") +
             "  waiting " + text(lock, "waiters");
    for (const json& holder : member(lock, "holders")) lines += describe_holder(holder);
    for (const json& wait : member(lock, "queue")) lines += describe_wait(wait);
  }
  if (lines.empty()) lines = "nothing is locked";
  for (const json& cycle : member(answer.value(), "deadlocks")) lines += describe_deadlock(cycle);
  if (text(answer.value(), "truncated") == "true") lines += "\n... (--limit shows more)";
  report.result(answer.value(), lines);
  return kExitOk;
}

int cluster_command(const Settings& settings, const Report& report) {
  const Result<json> answer = ask_admin(settings, {{"command", "clocks"}});
  if (!answer.ok()) return report.fail(kExitUnreachable, "no_answer", answer.error().message);
  const json& found = answer.value();
  std::string lines = "this node  " + text(found, "stage") + "  guard " +
                      format_duration(number(found, "guard_ns")) + "  offset from all " +
                      format_duration(number(found, "offset_ns")) + "\nall        half width " +
                      format_duration(number(found, "fused_half_width_ns")) + "  heard " +
                      text(found, "voters") + "  rejected " + text(found, "rejected") +
                      "  may be wrong " + text(found, "faulty_max");
  for (const json& clock : member(found, "clocks")) {
    lines += "\nnode " + text(clock, "node") + "  " + text(clock, "member") + "  " +
             text(clock, "state") + "  " + text(clock, "stage") + "  " + text(clock, "verdict") +
             "  offset " + format_duration(number(clock, "offset_ns")) + "  half width " +
             format_duration(number(clock, "half_width_ns"));
    if (clock.contains("round_trip_ns")) {
      lines += "  round trip " + format_duration(number(clock, "round_trip_ns"));
    }
  }
  report.result(found, lines);
  return kExitOk;
}

namespace {

int clock_by_admin(const Settings& settings, const Report& report) {
  const Result<json> answer = ask_admin(settings, {{"command", "clock"}});
  if (!answer.ok()) return report.fail(kExitUnreachable, "no_answer", answer.error().message);
  report.result(answer.value(), describe_clock(answer.value()));
  return kExitOk;
}

}  // namespace

namespace {

int clock_by_protocol(const Settings& settings, const Report& report, Signals& signals) {
  Connection connection = connect(settings, signals);
  if (!connection.client) {
    return report.fail(connection.exit_code, "no_session", connection.message);
  }
  const Result<wire::Reply> answer = connection.client->time();
  if (!answer.ok()) return report.fail(kExitUnreachable, "no_answer", answer.error().message);
  const Result<PingAnswer> ping = connection.client->ping();
  if (!ping.ok()) return report.fail(kExitUnreachable, "no_answer", ping.error().message);
  const wire::Reply& time = answer.value();
  const Nanoseconds width = time.latest_ns - time.earliest_ns;
  const auto source = static_cast<TimeSource>(time.holders);
  const PingAnswer& way = ping.value();
  const json object{{"state", to_string(way.clock_state)},
                    {"earliest_ns", std::int64_t{time.earliest_ns}},
                    {"latest_ns", std::int64_t{time.latest_ns}},
                    {"half_width_ns", width / 2},
                    {"sigma_ns", std::uint64_t{time.sigma_ns}},
                    {"source", to_string(source)},
                    {"stamp_source", to_string(way.stamp_source)},
                    {"offset_ns", way.offset_ns},
                    {"offset_error_ns", way.offset_error_ns}};
  report.result(object,
                "node      " + std::string(to_string(way.clock_state)) + "  [" +
                    format_tai(time.earliest_ns) + ", +" + format_duration(width) + "]  sigma " +
                    format_duration(static_cast<Nanoseconds>(std::uint64_t{time.sigma_ns})) +
                    "  source " + to_string(source) + "  stamps " + to_string(way.stamp_source) +
                    "\nthis machine's system clock is off it by " + format_duration(way.offset_ns) +
                    " +- " + format_duration(way.offset_error_ns));
  return kExitOk;
}

}  // namespace

// With --watch a line at each interval until a signal, also while the node does not answer.
int clock_command(const Settings& settings, const Report& report) {
  Signals signals;
  while (true) {
    const int code = settings.by_protocol ? clock_by_protocol(settings, report, signals)
                                          : clock_by_admin(settings, report);
    if (!settings.watch) return code;
    const auto signal = signals.wait(settings.interval_ns);
    if (signal && ends_program(signal->number)) return kExitOk;
  }
}

int ping_command(const Settings& settings, const Report& report) {
  Signals signals;
  Connection connection = connect(settings, signals);
  if (!connection.client) {
    return report.fail(connection.exit_code, "no_session", connection.message);
  }
  for (std::uint32_t i = 0; i < settings.count; ++i) {
    const Result<PingAnswer> answer = connection.client->ping();
    if (!answer.ok()) return report.fail(kExitUnreachable, "no_answer", answer.error().message);
    const PingAnswer& ping = answer.value();
    const json object{{"sequence", i + 1},
                      {"round_trip_ns", ping.round_trip_ns},
                      {"residence_ns", ping.residence_ns},
                      {"stamp_source", to_string(ping.stamp_source)},
                      {"clock_state", to_string(ping.clock_state)},
                      {"offset_ns", ping.offset_ns},
                      {"offset_error_ns", ping.offset_error_ns}};
    report.result(object, settings.server + "  " + std::to_string(i + 1) + "  round trip " +
                              format_duration(ping.round_trip_ns) + "  in the node " +
                              format_duration(ping.residence_ns) + "  stamps " +
                              to_string(ping.stamp_source) + "  clock " +
                              to_string(ping.clock_state) + "  offset " +
                              format_duration(ping.offset_ns) + " +- " +
                              format_duration(ping.offset_error_ns));
    if (i + 1 == settings.count) break;
    const auto signal = signals.wait(kSecond / 5);
    if (signal && ends_program(signal->number)) return kExitSignal + signal->number;
  }
  return kExitOk;
}

}  // namespace driftlock::cli
