// bench_capacity: fills the engine's tables with sessions and locks, and says what each costs.
// Exits 1 where that is more than what is aimed at: 96 bytes a lock, 256 a session of two slots.
//
//   bench_capacity [SESSIONS [LOCKS]]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>

#include "hw/table_memory.hpp"
#include "src/lock/engine.hpp"

namespace driftlock::bench {
namespace {

constexpr double kBytesPerLockMax = 96.0;
constexpr double kBytesPerSessionMax = 256.0;
constexpr Nanoseconds kNow = 1'700'000'000 * kSecond;
constexpr std::uint32_t kFew = 64;
constexpr SecretKey kClientKey{{1, 2, 3, 4}};

// Counts what it hands on.
class CountingMemory final : public std::pmr::memory_resource {
 public:
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    bytes_ += bytes;
    return from_.allocate(bytes, alignment);
  }
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    from_.deallocate(memory, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  TableMemory from_;
  std::size_t bytes_ = 0;
};

EngineOptions sized(std::uint32_t sessions, std::uint32_t slots, std::uint32_t locks) {
  EngineOptions options;
  options.sessions = {.sessions_max = sessions, .slots_per_session = slots};
  options.locks = {.locks_max = locks, .claims_max = kFew, .long_keys_max = kFew, .hash_seed = 7};
  return options;
}

std::size_t bytes_of(const EngineOptions& options) {
  const Keyring keyring({{1, "bench", kClientKey}});
  CountingMemory memory;
  const Engine engine(options, keyring, &memory);
  return memory.bytes();
}

double resident_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "VmRSS:") continue;
    double kib = 0;
    status >> kib;
    return kib / 1024;
  }
  return 0;
}

class Filling {
 public:
  Filling(std::uint32_t sessions, std::uint32_t locks)
      : sessions_(sessions),
        locks_(locks),
        engine_(std::make_unique<Engine>(sized(sessions, 2, locks), keyring_, &memory_)) {
    context_.now =
        context_.received = {Interval::around(kNow, kMillisecond), kNow, ClockState::kSync};
    context_.peer = {0x0A000001, 5000, {}};
    engine_->advance(context_.now);
  }

  [[nodiscard]] bool open_all() {
    for (std::uint32_t i = 0; i < sessions_; ++i) {
      if (open(i) != wire::Status::kOk) return false;
    }
    return open(sessions_) == wire::Status::kFull;
  }
  [[nodiscard]] bool take_all() {
    for (std::uint32_t i = 0; i < locks_; ++i) {
      if (acquire(i) != wire::Status::kOk) return false;
    }
    return acquire(locks_) == wire::Status::kFull;
  }
  [[nodiscard]] double mib() const { return static_cast<double>(memory_.bytes()) / (1 << 20); }
  [[nodiscard]] const Engine& engine() const { return *engine_; }

 private:
  wire::Status open(std::uint32_t number) {
    wire::OpenRequest request;
    std::memcpy(request.client_nonce.data(), &number, sizeof(number));
    request.slots = 2;
    request.cookie = engine_->open(1, kClientKey, request, context_).cookie;
    return engine_->open(1, kClientKey, request, context_).status;
  }
  wire::Status acquire(std::uint32_t number) {
    const std::uint32_t session = number % sessions_;
    wire::Request request;
    request.op = wire::Op::kAcquire;
    request.slot = 0;
    request.sequence = number / sessions_ + 1;
    request.key_length = sizeof(number);
    std::memcpy(request.key.data(), &number, sizeof(number));
    wire::Reply reply;
    engine_->handle(session, request, engine_->prefetch(session, request), context_, reply);
    return reply.status;
  }

  std::uint32_t sessions_;
  std::uint32_t locks_;
  Keyring keyring_{{{1, "bench", kClientKey}}};
  CountingMemory memory_;
  std::unique_ptr<Engine> engine_;
  RequestContext context_;
};

int run(std::uint32_t sessions, std::uint32_t locks) {
  const double per_lock = static_cast<double>(bytes_of(sized(kFew, 2, locks))) / locks;
  double per_session = 0;
  for (const std::uint32_t slots : {16U, 4U, 2U}) {
    const std::size_t bytes = bytes_of(sized(sessions, slots, kFew));
    per_session = static_cast<double>(bytes) / sessions;
    std::printf("%.1f bytes per session with %u slots\n", per_session, slots);
  }
  std::printf("%.1f bytes per lock\n", per_lock);
  Filling filling(sessions, locks);
  if (!filling.open_all()) {
    std::printf("sessions do not fit\n");
    return 1;
  }
  if (!filling.take_all()) {
    std::printf("locks do not fit\n");
    return 1;
  }
  std::printf("%u sessions hold %u locks: tables of %.0f MiB, resident %.0f MiB\n",
              filling.engine().sessions().active(), filling.engine().locks().locks_in_use(),
              filling.mib(), resident_mib());
  return per_lock <= kBytesPerLockMax && per_session <= kBytesPerSessionMax ? 0 : 1;
}

}  // namespace
}  // namespace driftlock::bench

int main(int argc, char** argv) {
  const auto number = [&](int at, std::uint32_t fallback) {
    return argc > at ? static_cast<std::uint32_t>(std::strtoul(argv[at], nullptr, 10)) : fallback;
  };
  return driftlock::bench::run(number(1, 1U << 20), number(2, 1U << 24));
}
