#include "bpf/steering.hpp"

#include <bpf/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "bpf/probe.hpp"
#include "lock_stub.skel.h"

namespace driftlock {
namespace steering {
namespace {

// The first descriptor of this process that is a BPF object of this kind ("bpf-map") and name.
template <typename Info>
int find_descriptor(const std::string& kind, const std::string& name) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::filesystem::path target = std::filesystem::read_symlink(entry.path(), error);
    if (error || target.string() != "anon_inode:" + kind) continue;
    const int descriptor = std::stoi(entry.path().filename().string());
    Info info{};
    std::uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(descriptor, &info, &size) != 0) continue;
    if (name == info.name) return descriptor;
  }
  return -1;
}

}  // namespace

int find_sockets_map() {
  return find_descriptor<bpf_map_info>("bpf-map", "xsks_map");
}

int find_stub_program() {
  return find_descriptor<bpf_prog_info>("bpf-prog", "lock_stub");
}

}  // namespace steering

Result<std::unique_ptr<SteeringStub>> SteeringStub::make() {
  const auto failed = [] {
    return Error{"probe: a file in memory for the steering program: " +
                 std::string(std::strerror(errno))};
  };
  const int descriptor = memfd_create("driftlock-steering", MFD_CLOEXEC);
  if (descriptor < 0) return failed();
  std::unique_ptr<SteeringStub> stub(new SteeringStub(descriptor));
  std::size_t size = 0;
  const void* bytes = lock_stub_bpf__elf_bytes(&size);
  if (write(descriptor, bytes, size) != static_cast<ssize_t>(size)) return failed();
  return stub;
}

SteeringStub::~SteeringStub() {
  close(descriptor_);
}

std::string SteeringStub::argument() const {
  return ",xdp_prog=/proc/self/fd/" + std::to_string(descriptor_);
}

}  // namespace driftlock
