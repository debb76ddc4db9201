// LockLoad: the client side of the benchmarks as a state machine: lanes, each a session slot with
// one request outstanding, that first fill the lock table and then release and acquire keys of
// their own at random. Every reply is checked. Owned by one thread; knows nothing of ports.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "src/lock/mac.hpp"
#include "src/lock/wire.hpp"

namespace driftlock::bench {

struct LoadOptions {
  std::size_t lanes = 32;
  std::size_t keys = 1000;  // at least one per lane; all are held, but for one per lane at times
  std::uint64_t seed = 1;
  SecretKey client_key;
  std::uint64_t client_id = 1;
};

class LockLoad {
 public:
  static constexpr std::size_t kSlotsPerSession = 8;

  explicit LockLoad(const LoadOptions& options);

  [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }
  [[nodiscard]] std::size_t lanes() const { return lanes_.size(); }

  // Opening session `index`: write, have it answered, take, until it is open (the first answer is a
  // cookie).
  [[nodiscard]] bool is_open(std::size_t index) const { return sessions_[index].id != 0; }
  std::size_t write_open(std::size_t index, std::uint8_t* payload);
  void take_open_reply(std::size_t index, const std::uint8_t* payload, std::size_t length);

  // The lane's next request, signed; the same operation again until its reply is taken. Returns its
  // length.
  std::size_t write_request(std::size_t lane, std::uint8_t* payload);
  // The lane whose newest request this answers or echoes; lanes() where it is anything else. Takes
  // note of a reply.
  std::size_t take(const std::uint8_t* payload, std::size_t length);

  // Every key of every lane is held, so that from now on the table's size stays.
  [[nodiscard]] bool filled() const { return lanes_unfilled_ == 0; }
  [[nodiscard]] std::uint64_t replies() const { return replies_; }

 private:
  struct SessionState {
    std::uint64_t id = 0;
    SecretKey key;
    wire::Bytes16 nonce{};
    wire::Bytes16 cookie{};
  };
  struct Lane {
    std::uint32_t sequence = 1;  // of the request outstanding
    std::uint32_t attempt = 0;   // of all that were sent: tells the newest from those given up
    std::size_t key = 0;         // that it is about
    bool releasing = false;
    bool filled = false;
  };
  void take_reply(std::size_t lane, const wire::Reply& reply);
  void choose_next(std::size_t lane);

  LoadOptions options_;
  std::mt19937_64 random_;
  std::vector<SessionState> sessions_;
  std::vector<Lane> lanes_;
  std::vector<std::uint64_t> tokens_;  // by key; the newest grant's
  std::size_t lanes_unfilled_;
  std::uint64_t replies_ = 0;
};

}  // namespace driftlock::bench
