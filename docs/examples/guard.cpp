// The C++ interface, and a resource that checks tokens.
// In this tree: build/docs/examples/guard 127.0.0.1:4780 client.key demo
#include <cstdio>

#include "hw/key_file.hpp"
#include "hw/udp_transport.hpp"
#include "src/client/client.hpp"
#include "src/client/fence.hpp"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s SERVER KEY_FILE KEY\n", argv[0]);
    return 2;
  }
  const auto key = driftlock::load_client_key(argv[2], std::nullopt);
  if (!key.ok()) {
    std::fprintf(stderr, "%s\n", key.error().message.c_str());
    return 2;
  }
  driftlock::ClientOptions options;
  options.session.client_id = key.value().id;
  options.session.client_key = key.value().key;
  auto client = driftlock::connect_udp(argv[1], std::move(options));
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.error().message.c_str());
    return 1;
  }
  driftlock::FenceGate resource;
  driftlock::LockOptions how;
  how.wait_ns = 10 * driftlock::kSecond;
  std::uint64_t older = 0;
  for (int round = 0; round < 2; ++round) {
    auto answer = (*client)->lock(argv[3], how);
    if (!answer.ok() || !answer->lock) {
      std::fprintf(stderr, "%s: %s\n", argv[3],
                   answer.ok() ? driftlock::wire::to_string(answer->status)
                               : answer.error().message.c_str());
      return 1;
    }
    driftlock::Lock& lock = *answer->lock;
    const bool admitted = lock.still_held() && resource.admit(lock.token());
    std::printf("token %llu: %s\n", static_cast<unsigned long long>(lock.token()),
                admitted ? "admitted" : "refused");
    if (round == 0) older = lock.token();
    if (!(*client)->unlock(lock).ok()) return 1;
  }
  std::printf("token %llu again: %s\n", static_cast<unsigned long long>(older),
              resource.admit(older) ? "admitted" : "refused");
  return 0;
}
