// Cell<T>: a field that one thread writes and others copy. Every access is a relaxed atomic one, a
// plain move on the machines we serve; a sequence number around a group of cells tells torn copies.
#pragma once

#include <atomic>

namespace driftlock {

template <typename T>
class Cell {
 public:
  Cell() = default;
  Cell(T value) : value_(value) {}
  Cell(const Cell& other) : value_(other.get()) {}
  Cell& operator=(const Cell& other) {
    set(other.get());
    return *this;
  }
  Cell& operator=(T value) {
    set(value);
    return *this;
  }
  operator T() const { return get(); }
  [[nodiscard]] T get() const { return value_.load(std::memory_order_relaxed); }
  void set(T value) { value_.store(value, std::memory_order_relaxed); }

 private:
  static_assert(std::atomic<T>::is_always_lock_free);
  std::atomic<T> value_{};  // writer: the owner's thread
};

}  // namespace driftlock
