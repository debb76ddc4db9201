// DpdkPort: the Port concept over any DPDK ethdev whose interface it owns outright: it answers ARP
// and ICMP echo itself, and takes UDP to its own address and port alone. One lcore owns it
// (receive, allocate, send, release); calibrate() belongs to a control thread; counters are read by
// any. Nothing is allocated after open(). DPDK's headers stay in the .cpp.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hw/hardware_stamps.hpp"
#include "src/base/counter.hpp"
#include "src/base/result.hpp"
#include "src/lock/frame.hpp"
#include "src/lock/port.hpp"

struct rte_mbuf;
struct rte_mempool;

namespace driftlock {

struct DpdkPortOptions {
  std::string device;      // DPDK's name: "net_af_xdp0", "0000:01:00.0"
  std::uint32_t ipv4 = 0;  // host byte order; the MAC address is the device's own
  std::uint16_t udp_port = 0;
  std::uint16_t vlan = 0;
  std::uint16_t ring_size = 1024;  // descriptors each way, where the driver allows it
  std::uint32_t buffers = 8191;    // 2^n - 1 wastes no memory
  HardwareStampsOptions stamps{};
  HardwareStamps::Read read_phc{};  // the PHC that the NIC may stamp by; null: none
};

// writer: the port's lcore.
struct DpdkPortCounters {
  Counter received;             // datagrams handed out
  Counter sent;                 // datagrams the device took
  Counter send_drops;           // datagrams it did not take
  Counter neighbour_answers;    // ARP and ICMP echo
  Counter no_buffer;            // allocate() refused
  Counter stamps_out_of_range;  // hardware stamps that made no sense: TSC used instead
  std::array<Counter, frame::kRefusalCount> refused;  // frames not served, by frame::Refusal
};

class DpdkPort {
 public:
  [[nodiscard]] static Result<std::unique_ptr<DpdkPort>> open(const DpdkPortOptions& options);
  ~DpdkPort();
  DpdkPort(const DpdkPort&) = delete;
  DpdkPort& operator=(const DpdkPort&) = delete;

  // The Port concept.
  [[nodiscard]] std::size_t receive(std::span<Datagram> out);
  [[nodiscard]] bool allocate(Datagram& datagram);
  void send(std::span<Datagram> datagrams);
  void release(Datagram& datagram);

  // Where packets are stamped by the NIC: one more reading of its clock, some ten times a second.
  // Does nothing elsewhere.
  void calibrate();

  [[nodiscard]] StampSource stamp_source() const { return stamp_source_; }
  [[nodiscard]] const frame::Interface& interface() const { return self_; }
  [[nodiscard]] const DpdkPortCounters& counters() const { return counters_; }
  [[nodiscard]] std::uint64_t device_drops() const;  // by the device for want of buffers
  [[nodiscard]] const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  explicit DpdkPort(const DpdkPortOptions& options);
  [[nodiscard]] Status configure(const DpdkPortOptions& options);
  [[nodiscard]] Status enable_hardware_stamps(const DpdkPortOptions& options, bool offered);
  [[nodiscard]] std::optional<PairedReading> read_device() const;
  [[nodiscard]] bool accept(rte_mbuf* mbuf, std::uint64_t now, Datagram& datagram);
  void refuse(rte_mbuf* mbuf, frame::Refusal refusal);
  void transmit(rte_mbuf** mbufs, std::uint16_t count, Counter& sent);

  frame::Interface self_;
  frame::HeaderWriter writer_;
  std::uint16_t port_id_ = 0;
  bool started_ = false;
  rte_mempool* pool_ = nullptr;
  frame::Checksums checksums_ = frame::Checksums::kCompute;
  std::uint64_t transmit_flags_ = 0;  // of every mbuf sent, as the next
  std::uint64_t transmit_lengths_ = 0;
  StampSource stamp_source_ = StampSource::kTsc;
  int stamp_offset_ = -1;  // of the mbuf's dynamic field
  std::uint64_t stamp_flag_ = 0;
  DeviceClockMap device_map_;             // the burst's copy
  std::optional<HardwareStamps> stamps_;  // where the NIC offers any
  std::array<rte_mbuf*, kBurst> answers_{};
  std::uint16_t answer_count_ = 0;
  DpdkPortCounters counters_;
  std::vector<std::string> remarks_;
};

}  // namespace driftlock
