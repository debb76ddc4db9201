#include "tools/check/history.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

namespace driftlock::check {
namespace {

using nlohmann::json;

Outcome outcome_of(std::string_view result) {
  if (result == "ok") return Outcome::kOk;
  if (result == "busy") return Outcome::kBusy;
  if (result == "not_held" || result == "stale_token") return Outcome::kNotHeld;
  return result.empty() ? Outcome::kUnanswered : Outcome::kOther;
}

const char* mode_of(const HistoryOperation& operation) {
  if (operation.size != kAllPermits) return "semaphore";
  return operation.permits == kAllPermits ? "exclusive" : "shared";
}

HistoryOp op_of(const std::string& name) {
  if (name == "acquire") return HistoryOp::kAcquire;
  if (name == "release") return HistoryOp::kRelease;
  if (name == "convert") return HistoryOp::kConvert;
  throw std::invalid_argument("unknown op " + name);
}

HistoryOperation operation_of(const json& line) {
  HistoryOperation operation;
  operation.op = op_of(line.at("op").get<std::string>());
  operation.called_ns = line.at("time_ns").get<Nanoseconds>();
  operation.client = line.at("client").get<std::uint32_t>();
  operation.token = line.value("token", std::uint64_t{0});
  operation.take_over = line.value("take_over", false);
  operation.group = line.value("group", false);
  const auto mode = line.value("mode", std::string("exclusive"));
  if (mode == "semaphore") {
    operation.permits = line.at("permits").get<std::uint32_t>();
    operation.size = line.at("permits_max").get<std::uint32_t>();
    if (operation.permits == 0 || operation.size == 0 || operation.size >= kAllPermits) {
      throw std::invalid_argument("permits out of range");
    }
  } else if (mode == "exclusive") {
    operation.permits = kAllPermits;
  } else if (mode != "shared") {
    throw std::invalid_argument("unknown mode " + mode);
  }
  return operation;
}

}  // namespace

const char* to_string(HistoryOp op) {
  switch (op) {
    case HistoryOp::kAcquire:
      return "acquire";
    case HistoryOp::kRelease:
      return "release";
    case HistoryOp::kConvert:
      return "convert";
  }
  return "?";
}

std::uint64_t History::invoke(const std::string& key, const HistoryOperation& operation) {
  calls_.push_back({key, operation, {}});
  return calls_.size();
}

void History::complete(Nanoseconds at_ns, std::uint64_t number, std::string_view result,
                       std::uint64_t granted) {
  Call& call = calls_.at(number - 1);
  call.result = result;
  call.operation.outcome = outcome_of(result);
  call.operation.cancelled = result == "cancelled";
  call.operation.returned_ns = at_ns;
  call.operation.granted = granted;
}

void History::held(Nanoseconds at_ns, std::uint32_t client, const std::string& key,
                   std::uint64_t token) {
  beliefs_.push_back({at_ns, client, key, token});
}

std::vector<KeyHistory> History::by_key() const {
  std::map<std::string, KeyHistory> found;
  for (const Call& call : calls_) found[call.key].operations.push_back(call.operation);
  for (const Belief& belief : beliefs_) {
    const auto place = found[belief.key].believed_ns.try_emplace(belief.token, belief.at_ns).first;
    place->second = std::max(place->second, belief.at_ns);
  }
  std::vector<KeyHistory> all;
  for (auto& [key, history] : found) {
    history.key = key;
    std::stable_sort(history.operations.begin(), history.operations.end(),
                     [](const HistoryOperation& a, const HistoryOperation& b) {
                       return a.called_ns < b.called_ns;
                     });
    all.push_back(std::move(history));
  }
  return all;
}

bool History::write(const std::string& file) const {
  std::ofstream out(file);
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    const auto& [key, operation, result] = calls_[i];
    json line{{"event", "invoke"},
              {"id", i + 1},
              {"time_ns", operation.called_ns},
              {"client", operation.client},
              {"op", to_string(operation.op)},
              {"key", key},
              {"mode", mode_of(operation)},
              {"token", operation.token}};
    if (operation.size != kAllPermits) {
      line["permits"] = operation.permits;
      line["permits_max"] = operation.size;
    }
    if (operation.take_over) line["take_over"] = true;
    if (operation.group) line["group"] = true;
    out << line.dump() << '\n';
    if (operation.outcome == Outcome::kUnanswered) continue;
    out << json{{"event", "complete"},
                {"id", i + 1},
                {"time_ns", operation.returned_ns},
                {"result", result},
                {"token", operation.granted}}
               .dump()
        << '\n';
  }
  for (const Belief& belief : beliefs_) {
    out << json{{"event", "held"},
                {"time_ns", belief.at_ns},
                {"client", belief.client},
                {"key", belief.key},
                {"token", belief.token}}
               .dump()
        << '\n';
  }
  return out.good();
}

std::string History::add_line(const std::string& text) {
  try {
    const json line = json::parse(text);
    const auto event = line.at("event").get<std::string>();
    if (event == "invoke") {
      const auto id = line.at("id").get<std::uint64_t>();
      if (numbers_.contains(id)) return "id " + std::to_string(id) + " was used before";
      numbers_[id] = invoke(line.at("key").get<std::string>(), operation_of(line));
    } else if (event == "complete") {
      const auto id = line.at("id").get<std::uint64_t>();
      const auto found = numbers_.find(id);
      if (found == numbers_.end()) return "completes " + std::to_string(id) + ", not invoked";
      const HistoryOperation& operation = calls_[found->second - 1].operation;
      const auto at_ns = line.at("time_ns").get<Nanoseconds>();
      if (operation.outcome != Outcome::kUnanswered || at_ns < operation.called_ns) {
        return "completes " + std::to_string(id) + " twice, or before it was invoked";
      }
      complete(at_ns, found->second, line.at("result").get<std::string>(),
               line.value("token", std::uint64_t{0}));
    } else if (event == "held") {
      held(line.at("time_ns").get<Nanoseconds>(), line.at("client").get<std::uint32_t>(),
           line.at("key").get<std::string>(), line.at("token").get<std::uint64_t>());
    } else {
      return "unknown event " + event;
    }
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

Result<History> History::read(const std::string& file) {
  std::ifstream in(file);
  if (!in) return Error{"cannot read " + file};
  History history;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    if (line.empty()) continue;
    const std::string wrong = history.add_line(line);
    if (!wrong.empty()) return Error{file + ":" + std::to_string(number) + ": " + wrong};
  }
  return history;
}

}  // namespace driftlock::check
