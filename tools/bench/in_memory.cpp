// The lock path without a network: frames in memory through the real FastPath and Engine, headers
// and both MACs included, in bursts of 32. Only poll() is timed; the frames are written, and the
// replies checked, between the samples. Reports cycles per operation (TSC ticks): the median over
// samples of 1024 operations, and its spread.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "hw/node_clock.hpp"
#include "hw/table_memory.hpp"
#include "src/lock/fast_path_impl.hpp"
#include "src/lock/frame.hpp"
#include "tools/bench/fixed_clock.hpp"
#include "tools/bench/lock_load.hpp"

namespace driftlock::bench {
namespace {

constexpr frame::Interface kNode{{0x02, 0, 0, 0, 0, 0x01}, 0x0A000001, wire::kDefaultPort, 0};
constexpr frame::Interface kUser{{0x02, 0, 0, 0, 0, 0x02}, 0x0A000002, 40000, 0};
constexpr SecretKey kClientKey{{1, 2, 3, 4}};
constexpr std::size_t kSampleOperations = 1024;

// Frames in one array, received in order and answered where they lie.
class MemoryPort {
 public:
  explicit MemoryPort(std::size_t frames) : buffers_(frames) {}

  std::uint8_t* payload(std::size_t index) {
    return buffers_[index].data() + kHeadroom + frame::kHeadersBytesMax;
  }
  // Puts the request at payload(index) on the wire.
  void deliver(std::size_t index, std::size_t length) {
    user_.write(payload(index), static_cast<std::uint16_t>(length),
                {kNode.ipv4, kNode.udp_port, kNode.mac}, frame::Checksums::kCompute);
    lengths_[index] = length;
  }
  void start(std::size_t count) {
    next_ = 0;
    end_ = count;
    sent_ = 0;
  }

  std::size_t receive(std::span<Datagram> out) {
    const std::uint64_t now = read_ticks();
    const std::size_t count = std::min(out.size(), end_ - next_);
    for (std::size_t i = 0; i < count; ++i) __builtin_prefetch(payload(next_ + i));
    for (std::size_t i = 0; i < count; ++i, ++next_) {
      std::uint8_t* const begin = payload(next_) - user_.size();
      frame::View view;
      const frame::Refusal refusal = frame::parse(kNode, {begin, user_.size() + lengths_[next_]},
                                                  frame::Ipv4Checksum::kVerify, view);
      DRIFTLOCK_ASSERT(refusal == frame::Refusal::kNone);
      out[i] = {.payload = begin + view.payload_offset,
                .length = view.payload_length,
                .capacity = kBufferBytes,
                .peer = view.peer,
                .stamp = {now, StampSource::kTsc},
                .buffer = &buffers_[next_]};
    }
    return count;
  }
  bool allocate(Datagram&) { return false; }
  void send(std::span<Datagram> datagrams) {
    for (const Datagram& datagram : datagrams) {
      node_.write(datagram.payload, datagram.length, datagram.peer, frame::Checksums::kCompute);
    }
    sent_ += datagrams.size();
  }
  void release(Datagram&) { DRIFTLOCK_ASSERT(false && "nothing is dropped here"); }
  [[nodiscard]] std::size_t sent() const { return sent_; }

 private:
  static constexpr std::size_t kHeadroom = 128;
  static constexpr std::size_t kBufferBytes = 2176;  // as an mbuf's
  struct alignas(64) Buffer : std::array<std::uint8_t, kBufferBytes> {};

  std::vector<Buffer> buffers_;
  std::vector<std::size_t> lengths_ = std::vector<std::size_t>(buffers_.size());
  frame::HeaderWriter node_{kNode};
  frame::HeaderWriter user_{kUser};
  std::size_t next_ = 0;
  std::size_t end_ = 0;
  std::size_t sent_ = 0;
};

class Bench {
 public:
  explicit Bench(std::size_t keys)
      : load_({.lanes = kSampleOperations, .keys = keys, .client_key = kClientKey}),
        keyring_({{1, "bench", kClientKey}}),
        engine_(options(keys), keyring_, &memory_) {
    published_.store(fixed_snapshot());
    static_cast<void>(path_.poll());  // the engine learns the time
    for (int round = 0; round < 2; ++round) {
      for (std::size_t i = 0; i < load_.sessions(); ++i) {
        port_.deliver(0, load_.write_open(i, port_.payload(0)));
        port_.start(1);
        static_cast<void>(path_.poll());
        load_.take_open_reply(i, port_.payload(0), wire::datagram_bytes(1));
      }
    }
    while (!load_.filled()) static_cast<void>(sample());
    DRIFTLOCK_ASSERT(engine_.locks().locks_in_use() >= keys - kSampleOperations);
  }

  // Ticks for kSampleOperations operations.
  std::uint64_t sample() {
    for (std::size_t i = 0; i < kSampleOperations; ++i) {
      port_.deliver(i, load_.write_request(i, port_.payload(i)));
    }
    port_.start(kSampleOperations);
    const std::uint64_t begin = read_ticks();
    for (std::size_t i = 0; i < kSampleOperations / kBurst; ++i) static_cast<void>(path_.poll());
    const std::uint64_t end = read_ticks();
    DRIFTLOCK_ASSERT(port_.sent() == kSampleOperations);
    for (std::size_t i = 0; i < kSampleOperations; ++i) {
      const std::size_t lane = load_.take(port_.payload(i), wire::datagram_bytes(1));
      DRIFTLOCK_ASSERT(lane == i);
    }
    return end - begin;
  }

 private:
  static EngineOptions options(std::size_t keys) {
    EngineOptions options;
    options.sessions = {1024, LockLoad::kSlotsPerSession};
    options.locks.locks_max = static_cast<std::uint32_t>(std::max<std::size_t>(keys, 1U << 10));
    options.locks.claims_max = 1U << 16;
    options.node_secret = {{5, 6, 7, 8}};
    return options;
  }

  LockLoad load_;
  Keyring keyring_;
  TableMemory memory_;
  Engine engine_;
  Seqlock<ClockSnapshot> published_;
  NodeClock clock_{published_};
  MemoryPort port_{kSampleOperations};
  NoObserver observer_;
  FastPathCounters counters_;
  FastPath<MemoryPort, NodeClock, NoObserver> path_{port_, clock_, engine_, observer_, counters_};
};

void lock_path(benchmark::State& state) {
  const auto bench = std::make_unique<Bench>(static_cast<std::size_t>(state.range(0)));
  std::vector<double> cycles;
  for (auto _ : state) {
    const std::uint64_t ticks = bench->sample();
    state.SetIterationTime(static_cast<double>(ticks) * nominal_ns_per_tick() * 1e-9);
    cycles.push_back(static_cast<double>(ticks) / kSampleOperations);
  }
  std::sort(cycles.begin(), cycles.end());
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kSampleOperations));
  state.counters["cycles_per_op"] = cycles[cycles.size() / 2];
  state.counters["p1"] = cycles[cycles.size() / 100];  // what an undisturbed core does
  state.counters["p10"] = cycles[cycles.size() / 10];
  state.counters["p90"] = cycles[cycles.size() * 9 / 10];
}
BENCHMARK(lock_path)
    ->ArgName("locks")
    ->Arg(1'000 + 24)  // at least one per lane
    ->Arg(1'000'000)
    ->UseManualTime();

// What the path is made of, on one datagram in the first-level cache.
template <typename Work>
void component(benchmark::State& state, Work&& work) {
  const std::uint64_t begin = read_ticks();
  for (auto _ : state) work();
  state.counters["cycles"] =
      static_cast<double>(read_ticks() - begin) / static_cast<double>(state.iterations());
}

void mac_of_one_operation(benchmark::State& state) {
  alignas(64) std::array<std::uint8_t, wire::datagram_bytes(1)> datagram{};
  component(state, [&] {
    sign_datagram(kClientKey, datagram);
    benchmark::DoNotOptimize(datagram);
  });
}
BENCHMARK(mac_of_one_operation);

void frame_parse(benchmark::State& state) {
  std::array<std::uint8_t, 256> buffer{};
  const frame::HeaderWriter writer(kUser);
  std::uint8_t* const begin =
      writer.write(buffer.data() + 64, wire::datagram_bytes(1),
                   {kNode.ipv4, kNode.udp_port, kNode.mac}, frame::Checksums::kCompute);
  component(state, [&] {
    frame::View view;
    benchmark::DoNotOptimize(frame::parse(kNode, {begin, writer.size() + wire::datagram_bytes(1)},
                                          frame::Ipv4Checksum::kVerify, view));
  });
}
BENCHMARK(frame_parse);

void frame_write(benchmark::State& state) {
  std::array<std::uint8_t, 256> buffer{};
  const frame::HeaderWriter writer(kNode);
  component(state, [&] {
    benchmark::DoNotOptimize(writer.write(buffer.data() + 64, wire::datagram_bytes(1),
                                          {kUser.ipv4, kUser.udp_port, kUser.mac},
                                          frame::Checksums::kCompute));
    benchmark::ClobberMemory();
  });
}
BENCHMARK(frame_write);

}  // namespace
}  // namespace driftlock::bench

BENCHMARK_MAIN();
