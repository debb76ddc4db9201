#include <ctime>

#include "hw/dpdk_port.hpp"
#include "hw/dpdk_runtime.hpp"
#include "hw/phc_source.hpp"
#include "src/node/shard_thread.hpp"

namespace driftlock {
namespace {

class DpdkShard final : public Shard {
 public:
  DpdkShard(std::unique_ptr<DpdkRuntime> runtime, std::unique_ptr<DpdkPort> port,
            const ShardParts& parts, const Options::Port& options)
      : runtime_(std::move(runtime)),
        port_(std::move(port)),
        thread_(*port_, parts, options.cpu),
        idle_sleep_{0, options.idle_sleep_us * 1000} {}

  [[nodiscard]] Status start() override {
    return thread_.start([] { return DpdkRuntime::register_thread(); },
                         [this] {
                           if (idle_sleep_.tv_nsec != 0) nanosleep(&idle_sleep_, nullptr);
                         },
                         [] { DpdkRuntime::unregister_thread(); });
  }
  void stop() override { thread_.stop(); }
  void ask(EngineTask& task) override { thread_.ask(task); }
  [[nodiscard]] bool order(const SessionOrder& order) override { return thread_.order(order); }
  [[nodiscard]] bool next_outcome(OrderOutcome& outcome) override {
    return thread_.next_outcome(outcome);
  }
  void calibrate() override { port_->calibrate(); }

  [[nodiscard]] PortFigures figures() const override {
    const DpdkPortCounters& counters = port_->counters();
    PortFigures figures;
    figures.received = counters.received.read();
    figures.sent = counters.sent.read();
    figures.send_drops = counters.send_drops.read();
    figures.receive_drops = port_->device_drops();
    figures.no_buffer = counters.no_buffer.read();
    figures.stamps_out_of_range = counters.stamps_out_of_range.read();
    figures.neighbour_answers = counters.neighbour_answers.read();
    for (std::size_t i = 1; i < counters.refused.size(); ++i) {
      figures.refused.emplace_back(frame::to_string(static_cast<frame::Refusal>(i)),
                                   counters.refused[i].read());
    }
    return figures;
  }
  [[nodiscard]] std::string address() const override {
    return format_ipv4(port_->interface().ipv4) + ":" + std::to_string(port_->interface().udp_port);
  }
  [[nodiscard]] const char* stamp_source() const override {
    return to_string(port_->stamp_source());
  }

 private:
  // In this order: the thread ends first, then the port closes, DPDK itself last.
  const std::unique_ptr<DpdkRuntime> runtime_;
  const std::unique_ptr<DpdkPort> port_;
  ShardThread<DpdkPort> thread_;
  const timespec idle_sleep_;
};

// A PCI address has a dot and colons and no comma ("0000:01:00.0"); all else is a virtual device.
bool is_pci(const std::string& device) {
  return device.find(':') != std::string::npos && device.find(',') == std::string::npos &&
         device.find('=') == std::string::npos;
}

void tell(const std::vector<std::string>& remarks) {
  for (const std::string& remark : remarks) {
    log_line(LogLevel::kWarning, "dpdk", {{"remark", remark}});
  }
}

StampPolicy stamp_policy(const std::string& name) {
  if (name == "phc") return StampPolicy::kPhc;
  if (name == "counter") return StampPolicy::kCounter;
  return name == "off" ? StampPolicy::kOff : StampPolicy::kAuto;
}

// The PHC, read for the port alone: as it stands, without its offset to TAI.
Result<HardwareStamps::Read> open_phc(const std::string& device) {
  Result<std::unique_ptr<PhcSource>> opened = PhcSource::open({.device = device});
  if (!opened.ok()) return Error{"port.stamps_phc: " + opened.error().message};
  return HardwareStamps::Read([phc = std::shared_ptr<PhcSource>(
                                   std::move(opened).value())]() -> std::optional<PairedReading> {
    const Result<ClockSample> sample = phc->sample();
    if (!sample.ok()) return std::nullopt;
    const std::uint64_t width = sample->ticks_after - sample->ticks_before;
    return PairedReading{static_cast<std::uint64_t>(sample->tai_ns),
                         sample->ticks_before + width / 2, width};
  });
}

Status set_stamps(const Options::Port& options, DpdkPortOptions& port) {
  port.stamps.policy = stamp_policy(options.stamps);
  port.stamps.bits = static_cast<unsigned>(options.stamp_bits);
  if (port.stamps.policy == StampPolicy::kPhc && options.stamps_phc.empty()) {
    return Error{"stamps = \"phc\" needs port.stamps_phc (or clock.source = \"phc\")"};
  }
  if (options.stamps_phc.empty() || port.stamps.policy == StampPolicy::kOff) return done();
  port.stamps.phc = options.stamps_phc;
  Result<HardwareStamps::Read> phc = open_phc(options.stamps_phc);
  if (!phc.ok()) return phc.error();
  port.read_phc = std::move(phc).value();
  return done();
}

}  // namespace

template class FastPath<DpdkPort, NodeClock, ShardObserver>;

Result<std::unique_ptr<Shard>> make_dpdk_shard(const Options::Port& options,
                                               const ShardParts& parts) {
  DpdkOptions dpdk;
  dpdk.cpu = options.cpu < 0 ? 0 : static_cast<unsigned>(options.cpu);
  dpdk.memory_mib = static_cast<unsigned>(options.memory_mib);
  dpdk.huge_pages = options.huge_pages;
  (is_pci(options.device) ? dpdk.pci_allow : dpdk.vdevs).push_back(options.device);
  Result<std::unique_ptr<DpdkRuntime>> runtime = DpdkRuntime::start(dpdk);
  if (!runtime.ok()) return runtime.error();
  tell((*runtime)->remarks());

  DpdkPortOptions port_options;
  port_options.device = options.device.substr(0, options.device.find(','));
  DRIFTLOCK_ASSERT(parse_ipv4(options.address, port_options.ipv4));  // the table saw to it
  port_options.udp_port = static_cast<std::uint16_t>(options.udp_port);
  port_options.vlan = static_cast<std::uint16_t>(options.vlan);
  port_options.ring_size = static_cast<std::uint16_t>(options.ring_size);
  port_options.buffers = static_cast<std::uint32_t>(options.buffers);
  const Status stamps = set_stamps(options, port_options);
  if (!stamps.ok()) return stamps.error();
  Result<std::unique_ptr<DpdkPort>> port = DpdkPort::open(port_options);
  if (!port.ok()) return port.error();
  tell((*port)->remarks());
  return std::unique_ptr<Shard>(std::make_unique<DpdkShard>(
      std::move(runtime).value(), std::move(port).value(), parts, options));
}

}  // namespace driftlock
