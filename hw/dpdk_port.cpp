#include "hw/dpdk_port.hpp"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#include <algorithm>
#include <ctime>

#include "hw/tick_counter.hpp"
#include "src/base/assert.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {
namespace {

constexpr std::uint16_t kQueue = 0;
constexpr unsigned kBufferCache = 256;  // per lcore: a burst rarely reaches the shared ring
// Tries before datagrams are given up. Drivers refuse while the kernel still owns the descriptors
// of the burst before; a reply lost here costs the client a whole timeout.
constexpr int kTransmitTries = 8;
// A hardware stamp is believed from one second before the burst to the burst itself, give or take
// the regression's error.
constexpr Nanoseconds kStampAgeMax = kSecond;
constexpr Nanoseconds kStampLead = 10 * kMicrosecond;
constexpr std::size_t kPayloadOffset = RTE_PKTMBUF_HEADROOM + frame::kHeadersBytesMax;
static_assert(RTE_MBUF_DEFAULT_BUF_SIZE >= kPayloadOffset + wire::kDatagramBytesMax);
static_assert(RTE_PKTMBUF_HEADROOM >= frame::kVlanBytes, "HeaderWriter writes before the frame");

Error device_error(const std::string& device, const std::string& what, int result) {
  return Error{"DPDK device " + device + ": " + what + ": " + rte_strerror(-result)};
}

frame::Ipv4Checksum received_checksum(const rte_mbuf& mbuf) {
  return (mbuf.ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD
             ? frame::Ipv4Checksum::kTrusted
             : frame::Ipv4Checksum::kVerify;
}

bool seen_damaged(const rte_mbuf& mbuf) {
  return (mbuf.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD;
}

}  // namespace

DpdkPort::DpdkPort(const DpdkPortOptions& options)
    : self_{{}, options.ipv4, options.udp_port, options.vlan}, writer_(self_) {}

Result<std::unique_ptr<DpdkPort>> DpdkPort::open(const DpdkPortOptions& options) {
  std::unique_ptr<DpdkPort> port(new DpdkPort(options));
  if (rte_eth_dev_get_port_by_name(options.device.c_str(), &port->port_id_) != 0) {
    return Error{"DPDK has no device " + options.device +
                 "; check the vdev string or the PCI address it was started with"};
  }
  const Status configured = port->configure(options);
  if (!configured.ok()) return configured.error();
  return port;
}

Status DpdkPort::configure(const DpdkPortOptions& options) {
  const std::string& device = options.device;
  rte_eth_dev_info info{};
  int result = rte_eth_dev_info_get(port_id_, &info);
  if (result != 0) return device_error(device, "gives no information", result);

  rte_eth_conf conf{};
  constexpr std::uint64_t kReceiveChecks =
      RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
  conf.rxmode.offloads = info.rx_offload_capa & (kReceiveChecks | RTE_ETH_RX_OFFLOAD_TIMESTAMP);
  conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
  // One pool, no clones: the driver may give buffers back without looking at each.
  conf.txmode.offloads |= info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
  if ((conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0) {
    checksums_ = frame::Checksums::kLeftToDevice;
    transmit_flags_ = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM;
  }
  result = rte_eth_dev_configure(port_id_, 1, 1, &conf);
  if (result != 0) return device_error(device, "refuses one queue each way", result);

  std::uint16_t receive_ring = options.ring_size;
  std::uint16_t send_ring = options.ring_size;
  result = rte_eth_dev_adjust_nb_rx_tx_desc(port_id_, &receive_ring, &send_ring);
  if (result != 0) return device_error(device, "refuses the ring size", result);
  const std::string pool_name = "driftlock-" + std::to_string(port_id_);
  pool_ = rte_pktmbuf_pool_create(pool_name.c_str(), options.buffers, kBufferCache, 0,
                                  RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (pool_ == nullptr) {
    return Error{"DPDK device " + device + ": no memory for " + std::to_string(options.buffers) +
                 " packet buffers: " + rte_strerror(rte_errno) + "; give DPDK more memory"};
  }
  result = rte_eth_rx_queue_setup(port_id_, kQueue, receive_ring, SOCKET_ID_ANY, nullptr, pool_);
  if (result != 0) return device_error(device, "refuses a receive queue", result);
  result = rte_eth_tx_queue_setup(port_id_, kQueue, send_ring, SOCKET_ID_ANY, nullptr);
  if (result != 0) return device_error(device, "refuses a send queue", result);

  // Before start: some drivers look at once whether the dynamic field is registered.
  const bool stamps = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_TIMESTAMP) != 0;
  if (stamps && rte_mbuf_dyn_rx_timestamp_register(&stamp_offset_, &stamp_flag_) != 0) {
    stamp_offset_ = -1;
  }
  result = rte_eth_dev_start(port_id_);
  if (result != 0) return device_error(device, "does not start", result);
  started_ = true;
  Status stamped = enable_hardware_stamps(options, stamps && stamp_offset_ >= 0);
  if (!stamped.ok()) return stamped;

  rte_ether_addr mac{};
  result = rte_eth_macaddr_get(port_id_, &mac);
  if (result != 0) return device_error(device, "has no MAC address", result);
  std::copy_n(mac.addr_bytes, self_.mac.size(), self_.mac.begin());
  writer_ = frame::HeaderWriter(self_);
  transmit_lengths_ =
      rte_mbuf_tx_offload(writer_.ethernet_bytes(), frame::kIpv4Bytes, 0, 0, 0, 0, 0);
  std::uint16_t mtu = 0;
  constexpr std::size_t kPacketBytesMax =
      wire::kDatagramBytesMax + frame::kIpv4Bytes + frame::kUdpBytes;
  if (rte_eth_dev_get_mtu(port_id_, &mtu) == 0 && mtu < kPacketBytesMax) {
    remarks_.push_back("MTU " + std::to_string(mtu) + " of " + device +
                       " cuts off the largest datagrams: raise it to " +
                       std::to_string(kPacketBytesMax) + " or more");
  }
  return done();
}

// Nothing here writes to the device: rte_eth_timesync_enable would reset a PHC that the kernel's
// ptp4l shares.
Status DpdkPort::enable_hardware_stamps(const DpdkPortOptions& options, bool offered) {
  stamp_source_ = StampSource::kTsc;
  if (!offered) {
    const StampPolicy policy = options.stamps.policy;
    if (policy == StampPolicy::kAuto || policy == StampPolicy::kOff) return done();
    return Error{"DPDK device " + options.device + " does not stamp what it receives"};
  }
  HardwareStampsOptions stamps = options.stamps;
  stamps.ns_per_tick = nominal_ns_per_tick();
  std::uint64_t count = 0;
  const bool readable = rte_eth_read_clock(port_id_, &count) == 0;
  stamps_.emplace(stamps,
                  readable ? HardwareStamps::Read([this] { return read_device(); }) : nullptr,
                  options.read_phc);
  Status fits = stamps_->open([] {
    const timespec pause{0, 2 * kMillisecond};
    nanosleep(&pause, nullptr);
  });
  if (!stamps_->remark().empty()) remarks_.push_back(stamps_->remark());
  if (stamps_->used()) stamp_source_ = StampSource::kHardware;
  return fits;
}

// The tightest of a few read sandwiches.
std::optional<PairedReading> DpdkPort::read_device() const {
  std::optional<PairedReading> best;
  for (int attempt = 0; attempt < 5; ++attempt) {
    std::uint64_t device = 0;
    const std::uint64_t before = read_ticks();
    if (rte_eth_read_clock(port_id_, &device) != 0) return std::nullopt;
    const std::uint64_t width = read_ticks() - before;
    if (!best || width < best->width_ticks) best = {device, before + width / 2, width};
  }
  return best;
}

void DpdkPort::calibrate() {
  if (stamps_) stamps_->calibrate(read_ticks);
}

DpdkPort::~DpdkPort() {
  if (started_) rte_eth_dev_stop(port_id_);
  // The device gives back the buffers it holds before their pool goes.
  if (pool_ != nullptr) {
    rte_eth_dev_close(port_id_);
    rte_mempool_free(pool_);
  }
}

std::size_t DpdkPort::receive(std::span<Datagram> out) {
  std::array<rte_mbuf*, kBurst> mbufs;
  const std::uint16_t received =
      rte_eth_rx_burst(port_id_, kQueue, mbufs.data(),
                       static_cast<std::uint16_t>(std::min(out.size(), mbufs.size())));
  if (received == 0) return 0;
  const std::uint64_t now = read_ticks();
  if (stamp_source_ == StampSource::kHardware) device_map_ = stamps_->map();
  for (std::uint16_t i = 0; i < received; ++i) {
    rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void*));
  }
  std::size_t count = 0;
  for (std::uint16_t i = 0; i < received; ++i) {
    if (accept(mbufs[i], now, out[count])) ++count;
  }
  if (answer_count_ > 0) {
    transmit(answers_.data(), answer_count_, counters_.neighbour_answers);
    answer_count_ = 0;
  }
  counters_.received.add(count);
  return count;
}

// True where the frame is a datagram for us. Anything else has been dealt with.
bool DpdkPort::accept(rte_mbuf* mbuf, std::uint64_t now, Datagram& datagram) {
  auto* const bytes = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
  // A frame in several buffers is longer than any of ours, and its first part says so.
  const std::span<std::uint8_t> frame(bytes, mbuf->data_len);
  frame::View view;
  frame::Refusal refusal = frame::parse(self_, frame, received_checksum(*mbuf), view);
  if (refusal == frame::Refusal::kNone && seen_damaged(*mbuf)) {
    refusal = frame::Refusal::kBadChecksum;
  }
  if (refusal != frame::Refusal::kNone) {
    refuse(mbuf, refusal);
    return false;
  }
  datagram.payload = bytes + view.payload_offset;
  datagram.length = view.payload_length;
  datagram.capacity =
      static_cast<std::uint16_t>(mbuf->buf_len - rte_pktmbuf_headroom(mbuf) - view.payload_offset);
  datagram.peer = view.peer;
  datagram.stamp = {now, StampSource::kTsc};
  datagram.buffer = mbuf;
  if (stamp_flag_ != 0 && (mbuf->ol_flags & stamp_flag_) != 0 && device_map_.valid()) {
    const auto device = *RTE_MBUF_DYNFIELD(mbuf, stamp_offset_, const rte_mbuf_timestamp_t*);
    const std::uint64_t ticks = device_map_.to_ticks(device);
    const auto age_ns = static_cast<Nanoseconds>(
        static_cast<double>(static_cast<std::int64_t>(now - ticks)) * nominal_ns_per_tick());
    if (age_ns >= -kStampLead && age_ns <= kStampAgeMax) {
      datagram.stamp = {std::min(ticks, now), StampSource::kHardware};
    } else {
      counters_.stamps_out_of_range.add();
    }
  }
  return true;
}

// Not a datagram for us: answered where it asks for the address or for an echo, counted and dropped
// otherwise.
void DpdkPort::refuse(rte_mbuf* mbuf, frame::Refusal refusal) {
  using frame::Refusal;
  if (refusal == Refusal::kForeignType || refusal == Refusal::kForeignProtocol) {
    refusal =
        frame::answer_neighbour(self_, {rte_pktmbuf_mtod(mbuf, std::uint8_t*), mbuf->data_len});
    if (refusal == Refusal::kNone) {
      mbuf->ol_flags = 0;
      answers_[answer_count_++] = mbuf;
      return;
    }
  }
  counters_.refused[static_cast<std::size_t>(refusal)].add();
  rte_pktmbuf_free(mbuf);
}

bool DpdkPort::allocate(Datagram& datagram) {
  rte_mbuf* const mbuf = rte_pktmbuf_alloc(pool_);
  if (mbuf == nullptr) {
    counters_.no_buffer.add();
    return false;
  }
  datagram = {};
  datagram.payload = static_cast<std::uint8_t*>(mbuf->buf_addr) + kPayloadOffset;
  datagram.capacity = static_cast<std::uint16_t>(mbuf->buf_len - kPayloadOffset);
  datagram.buffer = mbuf;
  return true;
}

void DpdkPort::send(std::span<Datagram> datagrams) {
  std::array<rte_mbuf*, kBurst> mbufs;
  std::uint16_t count = 0;
  for (Datagram& datagram : datagrams) {
    auto* const mbuf = static_cast<rte_mbuf*>(datagram.buffer);
    const std::uint8_t* const begin = writer_.write(
        datagram.payload, datagram.length, datagram.peer, checksums_, datagram.traffic_class);
    mbuf->data_off = static_cast<std::uint16_t>(begin - static_cast<std::uint8_t*>(mbuf->buf_addr));
    mbuf->data_len = static_cast<std::uint16_t>(writer_.size() + datagram.length);
    mbuf->pkt_len = mbuf->data_len;
    mbuf->ol_flags = transmit_flags_;
    mbuf->tx_offload = transmit_lengths_;
    datagram.buffer = nullptr;
    mbufs[count++] = mbuf;
    if (count == mbufs.size()) {
      transmit(mbufs.data(), count, counters_.sent);
      count = 0;
    }
  }
  if (count > 0) transmit(mbufs.data(), count, counters_.sent);
}

void DpdkPort::transmit(rte_mbuf** mbufs, std::uint16_t count, Counter& sent) {
  std::uint16_t taken = 0;
  for (int attempt = 0; attempt < kTransmitTries && taken < count; ++attempt) {
    taken = static_cast<std::uint16_t>(taken +
                                       rte_eth_tx_burst(port_id_, kQueue, mbufs + taken,
                                                        static_cast<std::uint16_t>(count - taken)));
  }
  sent.add(taken);
  if (taken == count) return;
  counters_.send_drops.add(static_cast<std::uint64_t>(count - taken));
  rte_pktmbuf_free_bulk(mbufs + taken, static_cast<unsigned>(count - taken));
}

void DpdkPort::release(Datagram& datagram) {
  rte_pktmbuf_free(static_cast<rte_mbuf*>(datagram.buffer));
  datagram.buffer = nullptr;
}

std::uint64_t DpdkPort::device_drops() const {
  rte_eth_stats stats{};
  return rte_eth_stats_get(port_id_, &stats) == 0 ? stats.imissed + stats.rx_nombuf : 0;
}

static_assert(Port<DpdkPort>);

}  // namespace driftlock
