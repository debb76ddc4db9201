#include "hw/table_memory.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace driftlock {
namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

std::size_t whole_pages(std::size_t bytes) {
  return (bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
}

bool is_small(std::size_t bytes) {
  return bytes < kHugePageBytes;
}

}  // namespace

void* TableMemory::do_allocate(std::size_t bytes, std::size_t alignment) {
  if (is_small(bytes)) return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  // One page more than is wanted, and what lies outside the aligned part given back.
  const std::size_t wanted = whole_pages(bytes);
  const std::size_t mapped = wanted + kHugePageBytes;
  void* const map =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) throw std::bad_alloc();
  auto* const begin = static_cast<std::uint8_t*>(map);
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::size_t before = whole_pages(address) - address;
  if (before > 0) munmap(begin, before);
  munmap(begin + before + wanted, kHugePageBytes - before);
  // Where the kernel has no huge pages to give, the memory works all the same.
  static_cast<void>(madvise(begin + before, wanted, MADV_HUGEPAGE));
  return begin + before;
}

void TableMemory::do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) {
  if (is_small(bytes)) {
    std::pmr::new_delete_resource()->deallocate(memory, bytes, alignment);
  } else {
    munmap(memory, whole_pages(bytes));
  }
}

}  // namespace driftlock
