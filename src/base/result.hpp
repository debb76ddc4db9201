// Result<T>: the value of an operation that the world may refuse (a file, a device, a peer), or an
// Error whose message tells a person what to do. Not for programmers' errors: those assert.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "src/base/assert.hpp"

namespace driftlock {

struct Error {
  std::string message;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  // Implicit, so that a function may simply return a value or an Error.
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  [[nodiscard]] T& value() & {
    DRIFTLOCK_ASSERT(ok());
    return std::get<0>(state_);
  }
  [[nodiscard]] const T& value() const& {
    DRIFTLOCK_ASSERT(ok());
    return std::get<0>(state_);
  }
  [[nodiscard]] T&& value() && {
    DRIFTLOCK_ASSERT(ok());
    return std::get<0>(std::move(state_));
  }
  [[nodiscard]] const Error& error() const {
    DRIFTLOCK_ASSERT(!ok());
    return std::get<1>(state_);
  }

  T& operator*() & { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Error> state_;
};

// An operation that yields nothing but may be refused.
struct Done {};
using Status = Result<Done>;
inline Status done() {
  return Done{};
}

}  // namespace driftlock
