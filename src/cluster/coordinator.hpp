// Coordinator: the place where a cluster's members, slot owners and epochs are written down, as a
// store of keys with compare-and-swap. etcd v3 in src/node/etcd_coordinator.hpp, the simulator's
// own with its faults, one process's memory in tests. Nothing here blocks: a request is begun, its
// answer comes out of next() later, or an answer that none came.
//
// What an implementation promises: a request whose answer is `reached` was applied at one instant
// between its beginning and its answer, in one order with all others (linearizable); one that is
// not may have been applied, or may still be.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/time.hpp"

namespace driftlock::cluster {

// The key as it was last changed; mod_revision 0: it is not there.
struct KeyValue {
  std::string key;
  std::string value;
  std::int64_t mod_revision = 0;
};

// If every key of `expected` still has that mod_revision, the puts and deletes are done and `then`
// is read, else `otherwise` is read. A name to read that ends in '/' reads all keys below it.
struct CoordinatorRequest {
  struct Expected {
    std::string key;
    std::int64_t mod_revision = 0;
  };
  std::uint64_t id = 0;
  std::vector<Expected> expected;
  std::vector<KeyValue> puts;
  std::vector<std::string> deletes;
  std::vector<std::string> then;
  std::vector<std::string> otherwise;
};

struct CoordinatorAnswer {
  std::uint64_t id = 0;    // 0: a watch has seen these keys change
  bool reached = false;    // false: unknown whether it was applied; `trouble` says why
  bool succeeded = false;  // all was as expected
  std::int64_t revision = 0;
  std::vector<KeyValue> read;
  std::vector<std::string> read_names;  // what was asked to be read, as it was asked
  std::string trouble;
};

class Coordinator {
 public:
  virtual ~Coordinator() = default;
  virtual void begin(const CoordinatorRequest& request) = 0;
  [[nodiscard]] virtual bool next(CoordinatorAnswer& answer) = 0;
};

}  // namespace driftlock::cluster
