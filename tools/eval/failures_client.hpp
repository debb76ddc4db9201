// One client process of `driftlock-eval failures`: takes its lock, holds it, gives it back, and
// takes it again, over real UDP. Single-threaded, so that a loop that never ends stops its renewals
// as well. What happens is noted in memory that it shares with the parent.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "src/client/session_core.hpp"

namespace driftlock::eval {

enum class Happening : std::uint32_t { kGranted, kReleased, kLost };

struct Note {
  std::int64_t at_ns = 0;  // CLOCK_BOOTTIME
  std::uint64_t token = 0;
  std::uint32_t client = 0;
  std::uint32_t lock = 0;
  Happening what = Happening::kGranted;
};

// Shared by all processes of a run; made by mmap, so that zeroes are its beginning.
struct Board {
  static constexpr std::size_t kNotesMax = 1U << 18;
  static constexpr std::size_t kClientsMax = 1024;
  struct Client {
    std::atomic<std::uint64_t> holds;        // token, or 0
    std::atomic<std::int64_t> lease_end_ns;  // TAI, as it knows
    std::atomic<std::uint32_t> busy;         // the parent tells it to loop
    std::atomic<std::uint32_t> open;         // it has a session
    std::atomic<std::uint64_t> renewals_asked;
    std::atomic<std::uint64_t> sent;
  };
  std::atomic<std::uint32_t> stop;
  std::atomic<std::uint32_t> notes_used;
  std::array<Client, kClientsMax> clients;
  std::array<Note, kNotesMax> notes;
};

struct ClientWork {
  std::string server;
  client::SessionOptions session;
  std::uint32_t index = 0;
  std::uint32_t lock = 0;
  std::uint16_t namespace_id = 0;
  Nanoseconds hold_ns = 300 * kMillisecond;  // on average
  std::uint64_t seed = 1;
};

// Until the board says stop. Returns the process's exit code.
int work_as_client(const ClientWork& work, Board& board);

}  // namespace driftlock::eval
