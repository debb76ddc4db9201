// ClientProfile: what one session has been doing lately, in at most 512 bytes. Written by the lcore
// that serves the session, through ProfileRecorder, at most 50 ns an operation; copied by the
// predictor thread, which sees a whole update or none (sequence).
//
// Every quantity is kept as exponentially weighted means over two horizons, the last 16 and the
// last 256 samples: what is, against what is usual for this client. Durations are kept as log2 of
// nanoseconds, because a client's gaps and delays spread over orders of magnitude.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "src/base/time.hpp"
#include "src/lock/activity.hpp"
#include "src/lock/wire.hpp"
#include "src/predict/cell.hpp"

namespace driftlock {

inline constexpr float kRecentSamples = 16.0F;
inline constexpr float kUsualSamples = 256.0F;

// A quantity over two horizons, with its variance over the longer.
struct Trend {
  Cell<float> recent{0.0F};
  Cell<float> usual{0.0F};
  Cell<float> variance{0.0F};
  Cell<std::uint32_t> samples{0};

  void add(float value);
};

// How often each operation was asked for: counts that are halved when they reach a limit. Those
// that are no requests, or newer than this, count as one.
struct OperationMix {
  static constexpr std::size_t kKinds = 13;
  std::array<Cell<std::uint16_t>, kKinds> recent{};
  std::array<Cell<std::uint16_t>, kKinds> usual{};
  Cell<std::uint16_t> recent_total{0};
  Cell<std::uint16_t> usual_total{0};

  void add(wire::Op op);
  // 0: as usual; 1: nothing in common (total variation distance).
  [[nodiscard]] float shift() const;
};

// Which locks are used, by one-permutation MinHash (P. Li, A. Owen, C.-H. Zhang, 2012): the
// smallest hash in each of 32 bins over a window of operations. The share of equal bins of two
// windows estimates the Jaccard similarity of their sets of locks.
struct AccessSketch {
  static constexpr std::size_t kBins = 32;
  static constexpr std::uint16_t kEmpty = 0xFFFF;
  static constexpr std::uint16_t kWindowOperations = 64;

  std::array<Cell<std::uint16_t>, kBins> window;
  std::array<Cell<std::uint16_t>, kBins> before;
  Cell<std::uint16_t> in_window{0};
  Cell<std::uint16_t> windows{0};
  Trend change;  // 1 - similarity of each window to the one before

  AccessSketch();
  void add(std::uint64_t key_hash);

 private:
  void roll();
};

struct alignas(64) ClientProfile {
  std::atomic<std::uint32_t> sequence{0};  // odd while an update is under way
  Cell<std::uint32_t> operations{0};
  Cell<std::uint64_t> session_id{0};  // 0: nobody
  Cell<std::uint64_t> client_id{0};
  Cell<Nanoseconds> first_tai_ns{0};
  Cell<Nanoseconds> last_tai_ns{0};
  Cell<Nanoseconds> lease_end_ns{0};           // as last answered
  Cell<Nanoseconds> term_ns{0};                // the same
  Cell<Nanoseconds> transit_floor_ns{0};       // least of this window of requests and the last one
  Cell<Nanoseconds> transit_floor_next_ns{0};  // least of this window alone
  Cell<std::uint32_t> transit_samples{0};
  Cell<std::int32_t> holding{0};  // locks granted less released, as far as answers told
  Trend gap;                      // log2 ns from one datagram to the next
  Trend waited;                   // log2 ns in the node
  Trend transit;                  // log2 ns above the floor: queues on the way
  Trend failures;                 // 1 where the answer was not what was asked for
  Trend clock_residual;           // log2 of its magnitude, ns
  Trend behaviour_residual;       // log2 of its magnitude, ns
  Trend path_p50;                 // log2 ns, as the probe of the client's host reports
  Trend path_p99;                 // log2 ns
  Trend path_unanswered;          // share of a report's requests
  OperationMix mix;
  AccessSketch access;

  ClientProfile() = default;
  ClientProfile(const ClientProfile& other);
  ClientProfile& operator=(const ClientProfile&) = delete;

  void begin(const Activity& activity);  // forgets, for a new session
  void update(const Activity& activity);
  void update_path(const PathReport& report);

 private:
  void update_transit(Nanoseconds transit_ns);
};
static_assert(sizeof(ClientProfile) <= 512);

// log2 of a duration from the bits of its float: within 0.09, monotone, and a few instructions.
[[nodiscard]] float rough_log2(Nanoseconds duration_ns);

// The few fields that tell whether a session lives, for a look at all of them many times a second.
struct ProfileGlance {
  std::uint64_t session_id = 0;
  std::uint64_t client_id = 0;
  Nanoseconds last_tai_ns = 0;
  Nanoseconds lease_end_ns = 0;
  Nanoseconds term_ns = 0;
};

// The profiles of one lcore's sessions, by session index. Allocated once.
class ProfileTable {
 public:
  explicit ProfileTable(std::size_t sessions_max)
      : size_(sessions_max), profiles_(std::make_unique<ClientProfile[]>(sessions_max)) {}

  [[nodiscard]] std::size_t size() const { return size_; }
  // Whether anything is noted: the kill switch. writer: a control thread; reader: the lcore.
  void set_recording(bool on) { recording_.store(on, std::memory_order_relaxed); }
  [[nodiscard]] bool recording() const { return recording_.load(std::memory_order_relaxed); }
  [[nodiscard]] ClientProfile& at(std::size_t index) { return profiles_[index]; }
  // False where nobody is there, or where an update stays under way for longer than a few tries.
  // reader: any thread. `take` gets a copy.
  template <typename Take>
  bool read(std::size_t index, const Take& take) const;
  // The same for a glance.
  bool glance(std::size_t index, ProfileGlance& out) const {
    return attempt(index, [&out](const ClientProfile& live) {
      out = {live.session_id, live.client_id, live.last_tai_ns, live.lease_end_ns, live.term_ns};
      return [] {};
    });
  }

 private:
  template <typename Copy>
  bool attempt(std::size_t index, const Copy& copy) const;

  const std::size_t size_;
  const std::unique_ptr<ClientProfile[]> profiles_;
  std::atomic<bool> recording_{true};
};

// The fast path's observer: writer of one table. Lives on the lcore.
class ProfileRecorder {
 public:
  explicit ProfileRecorder(ProfileTable& table) : table_(table) {}
  void observe(const Activity& activity);
  void observe_path(const PathReport& report);

 private:
  // Changes a profile so that readers see the whole change or none.
  template <typename Change>
  static void write(ClientProfile& profile, const Change& change);
  ProfileTable& table_;
};

template <typename Copy>
bool ProfileTable::attempt(std::size_t index, const Copy& copy) const {
  constexpr int kTries = 8;
  const ClientProfile& live = profiles_[index];
  for (int i = 0; i < kTries; ++i) {
    const std::uint32_t before = live.sequence.load(std::memory_order_acquire);
    if ((before & 1U) != 0) continue;
    if (live.session_id == 0) return false;
    const auto taken = copy(live);
    // The copy is complete before the sequence is read again.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (live.sequence.load(std::memory_order_relaxed) != before) continue;
    taken();
    return true;
  }
  return false;
}

template <typename Take>
bool ProfileTable::read(std::size_t index, const Take& take) const {
  return attempt(index, [&take](const ClientProfile& live) {
    return [&take, copy = ClientProfile(live)] { take(copy); };
  });
}

}  // namespace driftlock
