// TableMemory: memory for the tables of an lcore, on transparent huge pages where the kernel has
// them: a table of a million locks is looked up at random, and on ordinary pages every look misses
// the TLB too. Used at start only; any one thread.
#pragma once

#include <cstddef>
#include <memory_resource>

namespace driftlock {

class TableMemory final : public std::pmr::memory_resource {
 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return dynamic_cast<const TableMemory*>(&other) != nullptr;
  }
};

}  // namespace driftlock
