#include "hw/socket_port.hpp"
#include "src/node/shard_thread.hpp"

namespace driftlock {
namespace {

// How long an idle loop sleeps at most. With sessions, leases and deadlines must be noticed;
// without any, only the order to stop.
constexpr Nanoseconds kSleepServingNs = kMillisecond;
constexpr Nanoseconds kSleepAloneNs = 20 * kMillisecond;

class SocketShard final : public Shard {
 public:
  SocketShard(std::unique_ptr<SocketPort> port, const ShardParts& parts, std::int64_t cpu)
      : port_(std::move(port)), thread_(*port_, parts, cpu) {}

  [[nodiscard]] Status start() override {
    return thread_.start(
        [] { return done(); },
        [this] {
          static_cast<void>(port_->wait(thread_.serves_anyone() ? kSleepServingNs : kSleepAloneNs));
        },
        [] {});
  }
  void stop() override { thread_.stop(); }
  void ask(EngineTask& task) override { thread_.ask(task); }
  [[nodiscard]] bool order(const SessionOrder& order) override { return thread_.order(order); }
  [[nodiscard]] bool next_outcome(OrderOutcome& outcome) override {
    return thread_.next_outcome(outcome);
  }
  void calibrate() override {}

  [[nodiscard]] PortFigures figures() const override {
    const SocketPortCounters& counters = port_->counters();
    PortFigures figures;
    figures.received = counters.received.read();
    figures.sent = counters.sent.read();
    figures.send_drops = counters.send_drops.read();
    figures.receive_drops = counters.receive_drops.read();
    figures.no_buffer = counters.no_buffer.read();
    figures.stamps_out_of_range = counters.stamps_out_of_range.read();
    return figures;
  }
  [[nodiscard]] std::string address() const override {
    return format_ipv4(port_->ipv4()) + ":" + std::to_string(port_->udp_port());
  }
  [[nodiscard]] const char* stamp_source() const override {
    return to_string(StampSource::kSoftware);
  }

 private:
  const std::unique_ptr<SocketPort> port_;
  ShardThread<SocketPort> thread_;
};

}  // namespace

template class FastPath<SocketPort, NodeClock, ShardObserver>;

Result<std::unique_ptr<Shard>> make_socket_shard(const Options::Port& options,
                                                 const ShardParts& parts) {
  SocketPortOptions port_options;
  DRIFTLOCK_ASSERT(parse_ipv4(options.address, port_options.ipv4));  // the table saw to it
  port_options.udp_port = static_cast<std::uint16_t>(options.udp_port);
  port_options.buffers = static_cast<std::uint32_t>(options.buffers);
  Result<std::unique_ptr<SocketPort>> port = SocketPort::open(port_options);
  if (!port.ok()) return port.error();
  return std::unique_ptr<Shard>(
      std::make_unique<SocketShard>(std::move(port).value(), parts, options.cpu));
}

}  // namespace driftlock
