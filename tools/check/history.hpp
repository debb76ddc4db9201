// History: what clients asked of locks and were told, when, and until when they believed, on one
// time axis that all of them share (one process's monotonic clock, or the simulator's true time).
// docs/simulator.md describes its file, one JSON object a line. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/base/result.hpp"
#include "src/base/time.hpp"

namespace driftlock::check {

enum class HistoryOp : std::uint8_t { kAcquire, kRelease, kConvert };
const char* to_string(HistoryOp op);

// An answer, as far as an order of operations can explain or contradict it.
enum class Outcome : std::uint8_t {
  kUnanswered,  // it may have happened, at any time since, or not
  kOk,
  kBusy,     // a try that found the lock taken
  kNotHeld,  // a release or conversion of what its client no longer holds
  kOther,    // it did nothing: refused, waited in vain, cancelled
};

inline constexpr std::uint32_t kAllPermits = 0xFFFF;  // of a reader-writer lock

struct HistoryOperation {
  HistoryOp op = HistoryOp::kAcquire;
  Outcome outcome = Outcome::kUnanswered;
  bool take_over = false;
  bool cancelled = false;  // the answer says so: perhaps granted, and given back
  bool group = false;      // an acquire of this lock with others, all or nothing
  std::uint32_t client = 0;
  std::uint32_t permits = 1;         // wanted: exclusive takes all, shared one
  std::uint32_t size = kAllPermits;  // of the semaphore
  std::uint64_t token = 0;           // release, convert: of what is held
  std::uint64_t granted = 0;         // acquire, convert: the token that was answered
  Nanoseconds called_ns = 0;
  Nanoseconds returned_ns = kNever;
};

// All that happened to one lock. Locks are independent of each other, so each is judged alone
// (P-compositionality; A. Horn, D. Kroening, FORTE 2015). A group acquire is one acquire of each.
struct KeyHistory {
  std::string key;
  std::vector<HistoryOperation> operations;
  // When the holder of a token was last told that it holds the lock.
  std::unordered_map<std::uint64_t, Nanoseconds> believed_ns;
};

class History {
 public:
  // The number of the operation, for complete(). `mode`: exclusive, shared, semaphore.
  std::uint64_t invoke(const std::string& key, const HistoryOperation& operation);
  // `result`: a status of the protocol.
  void complete(Nanoseconds at_ns, std::uint64_t number, std::string_view result,
                std::uint64_t granted);
  void held(Nanoseconds at_ns, std::uint32_t client, const std::string& key, std::uint64_t token);

  // Grouped by key, operations in order of their calls.
  [[nodiscard]] std::vector<KeyHistory> by_key() const;
  [[nodiscard]] std::size_t operations() const { return calls_.size(); }

  [[nodiscard]] bool write(const std::string& file) const;
  [[nodiscard]] static Result<History> read(const std::string& file);
  // One line of a file; empty where it was taken, else what is wrong with it.
  [[nodiscard]] std::string add_line(const std::string& line);

 private:
  struct Call {
    std::string key;
    HistoryOperation operation;
    std::string result;
  };
  struct Belief {
    Nanoseconds at_ns;
    std::uint32_t client;
    std::string key;
    std::uint64_t token;
  };
  std::vector<Call> calls_;  // by number - 1
  std::vector<Belief> beliefs_;
  std::unordered_map<std::uint64_t, std::uint64_t> numbers_;  // in the file read: id -> number
};

}  // namespace driftlock::check
