#include "hw/dpdk_runtime.hpp"

#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace driftlock {
namespace {

// EAL pins the thread that starts it; the caller's own placement is put back afterwards.
class KeepAffinity {
 public:
  KeepAffinity() { pthread_getaffinity_np(pthread_self(), sizeof(before_), &before_); }
  ~KeepAffinity() { pthread_setaffinity_np(pthread_self(), sizeof(before_), &before_); }
  KeepAffinity(const KeepAffinity&) = delete;
  KeepAffinity& operator=(const KeepAffinity&) = delete;

 private:
  cpu_set_t before_{};
};

std::uint64_t free_huge_page_mib() {
  std::uint64_t total_kib = 0;
  std::error_code error;
  for (const auto& size : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", error)) {
    // Named "hugepages-2048kB".
    const std::string name = size.path().filename().string();
    const auto dash = name.find('-');
    if (dash == std::string::npos) continue;
    std::uint64_t free_pages = 0;
    if (std::ifstream(size.path() / "free_hugepages") >> free_pages) {
      total_kib += free_pages * std::strtoull(name.c_str() + dash + 1, nullptr, 10);
    }
  }
  return total_kib / 1024;
}

std::vector<std::string> eal_arguments(const DpdkOptions& options, bool huge_pages) {
  std::vector<std::string> arguments = {
      "driftlock",
      "--lcores=0@" + std::to_string(options.cpu),
      "--file-prefix=driftlock-" + std::to_string(getpid()),
      "--no-telemetry",
      "--log-level=*:" + options.log_level,
      "-m",
      std::to_string(options.memory_mib),
  };
  if (huge_pages) {
    arguments.emplace_back("--in-memory");
  } else {
    // Ordinary pages imply the memory layout that --in-memory excludes.
    arguments.insert(arguments.end(), {"--no-huge", "--no-shconf", "--iova-mode=va"});
  }
  if (options.pci_allow.empty()) arguments.emplace_back("--no-pci");
  for (const std::string& device : options.pci_allow) arguments.push_back("--allow=" + device);
  for (const std::string& device : options.vdevs) arguments.push_back("--vdev=" + device);
  return arguments;
}

std::string advice(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
      return "; run as root, or give the program CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF and "
             "CAP_IPC_LOCK";
    case ENOMEM:
      return "; ask for less memory, or free some huge pages";
    case EALREADY:
      return "; DPDK starts once in a process";
    default:
      return "; DPDK's own message above names the argument or device it refused (is the "
             "interface there, and its driver package installed?)";
  }
}

// DPDK makes a directory for files that these arguments tell it not to write, and leaves it there.
void remove_runtime_directory() {
  std::error_code ignored;
  std::filesystem::remove(rte_eal_get_runtime_dir(), ignored);
}

std::atomic<bool> started{false};

}  // namespace

Result<std::unique_ptr<DpdkRuntime>> DpdkRuntime::start(const DpdkOptions& options) {
  if (started.exchange(true)) return Error{"DPDK has been started in this process before"};
  std::unique_ptr<DpdkRuntime> runtime(new DpdkRuntime);
  bool huge_pages = options.huge_pages;
  if (huge_pages) {
    const std::uint64_t free_mib = free_huge_page_mib();
    if (free_mib < options.memory_mib) {
      huge_pages = false;
      runtime->remarks_.push_back(
          "no huge pages: " + std::to_string(free_mib) + " MiB free, " +
          std::to_string(options.memory_mib) +
          " MiB wanted; running on ordinary pages, which is slower (reserve some through "
          "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages)");
    }
  }
  std::vector<std::string> arguments = eal_arguments(options, huge_pages);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  const KeepAffinity keep_affinity;
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
    const int error = rte_errno;
    remove_runtime_directory();
    return Error{"DPDK did not start: " + std::string(rte_strerror(error)) + advice(error)};
  }
  runtime->initialised_ = true;
  return runtime;
}

DpdkRuntime::~DpdkRuntime() {
  if (!initialised_) return;
  rte_eal_cleanup();
  remove_runtime_directory();
}

Status DpdkRuntime::register_thread() {
  // EAL gives the new lcore its own idea of affinity; the thread's owner has decided that already.
  const KeepAffinity keep_affinity;
  if (rte_thread_register() == 0) return done();
  return Error{"DPDK has no lcore left for this thread: " + std::string(rte_strerror(rte_errno))};
}

void DpdkRuntime::unregister_thread() {
  rte_thread_unregister();
}

}  // namespace driftlock
