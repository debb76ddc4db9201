// A node without a network for unit tests: an Engine and its FastPath over a port that is two
// queues and a clock that the test sets. One thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <memory_resource>
#include <vector>

#include "src/lock/engine.hpp"
#include "src/lock/fast_path_impl.hpp"

namespace driftlock::test {

class QueuePort {
 public:
  struct Packet {
    Endpoint peer;
    std::vector<std::uint8_t> bytes;
  };

  std::size_t receive(std::span<Datagram> out) {
    std::size_t count = 0;
    while (count < out.size() && !arriving.empty()) {
      Datagram& datagram = out[count++];
      datagram = buffer();
      const Packet& packet = arriving.front();
      datagram.length = static_cast<std::uint16_t>(packet.bytes.size());
      std::copy(packet.bytes.begin(), packet.bytes.end(), datagram.payload);
      datagram.peer = packet.peer;
      datagram.stamp = {now_ticks, StampSource::kSimulated};
      arriving.pop_front();
    }
    return count;
  }
  bool allocate(Datagram& out) {
    out = buffer();
    return true;
  }
  void send(std::span<Datagram> datagrams) {
    for (Datagram& datagram : datagrams) {
      sent.push_back({datagram.peer, {datagram.payload, datagram.payload + datagram.length}});
      release(datagram);
    }
  }
  void release(Datagram& datagram) {
    delete[] static_cast<std::uint8_t*>(datagram.buffer);
    --outstanding;
  }

  std::deque<Packet> arriving;
  std::deque<Packet> sent;
  std::uint64_t now_ticks = 0;
  int outstanding = 0;

 private:
  Datagram buffer() {
    ++outstanding;
    Datagram datagram;
    datagram.buffer = new std::uint8_t[2048];
    datagram.payload = static_cast<std::uint8_t*>(datagram.buffer);
    datagram.capacity = 2048;
    return datagram;
  }
};

// A tick is a nanosecond, and the clock is right to within half_width_ns.
struct SetClock {
  struct View {
    const SetClock* clock;
    [[nodiscard]] ClockReading at(std::uint64_t ticks) const {
      if (clock->state == ClockState::kLost) return {};
      return {Interval::around(static_cast<Nanoseconds>(ticks), clock->half_width_ns), 0,
              clock->state};
    }
  };
  [[nodiscard]] std::uint64_t ticks() const { return now_ticks; }
  [[nodiscard]] View view() const { return {this}; }
  [[nodiscard]] Nanoseconds nanoseconds(std::uint64_t span) const {
    return static_cast<Nanoseconds>(span);
  }

  std::uint64_t now_ticks = 1'700'000'000'000'000'000;
  Nanoseconds half_width_ns = 1000;
  ClockState state = ClockState::kSync;
};

}  // namespace driftlock::test
