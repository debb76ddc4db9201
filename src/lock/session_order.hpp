// SessionOrder: what the predictor wants an lcore to do about one session, and what came of it.
// Both travel by single-producer rings; the Engine alone decides what is allowed. In increasing
// force: other lease terms, a request to renew (low priority, then normal), failing.
#pragma once

#include <cstdint>

namespace driftlock {

enum class OrderKind : std::uint8_t {
  kTerms,      // lease terms from the next renewal on
  kAskLow,     // ask a holder to renew, at low priority (DSCP LE): its loss is no evidence of death
  kAskNormal,  // the same at normal priority; its successors are asked too, to be ready
  kFail,       // both unanswered: others go before it; locks of the policy `fence` change hands
  kRestore,    // heard of again: no longer failing
};
inline constexpr std::size_t kOrderKinds = 5;

struct SessionOrder {
  std::uint64_t session_id = 0;  // never reused: an order for a session that is gone does nothing
  std::uint32_t session = 0;     // its index
  OrderKind kind = OrderKind::kTerms;
  bool rehearsal = false;      // shadow: say what would be done, and do not do it
  float strangeness = 0.0F;    // -ln P(an ordinary client looks so), against namespaces' thresholds
  std::uint32_t short_us = 0;  // kTerms: where somebody waits; 0: the client's own wish again
  std::uint32_t long_us = 0;   // kTerms: where nobody does
};

enum class OrderResult : std::uint8_t {
  kDone,
  kRehearsed,       // would have been done: the mode, or every namespace concerned, is `shadow`
  kNoSession,       // gone
  kNotHolder,       // holds nothing: nobody suffers by its silence
  kBelowThreshold,  // of every namespace that it holds locks in
};
inline constexpr std::size_t kOrderResults = 5;

struct OrderOutcome {
  std::uint64_t session_id = 0;
  std::uint32_t session = 0;
  OrderKind kind = OrderKind::kTerms;
  OrderResult result = OrderResult::kDone;
  std::uint32_t revoked = 0;  // kFail: locks taken from it by the policy `fence`
};

}  // namespace driftlock
