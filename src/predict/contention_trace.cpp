#include "src/predict/contention_trace.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "src/predict/random.hpp"

namespace driftlock {
namespace {

// Ranks 0 .. n-1, rank k with weight (k + 1)^-exponent; by inversion of the summed weights.
class ZipfRanks {
 public:
  ZipfRanks(std::uint32_t n, double exponent) : sums_(n) {
    double sum = 0.0;
    for (std::uint32_t k = 0; k < n; ++k) sums_[k] = sum += std::pow(k + 1.0, -exponent);
  }
  [[nodiscard]] std::uint32_t draw(Random& random) const {
    const double at = random.uniform() * sums_.back();
    return static_cast<std::uint32_t>(std::upper_bound(sums_.begin(), sums_.end(), at) -
                                      sums_.begin());
  }

 private:
  std::vector<double> sums_;
};

class Writer {
 public:
  explicit Writer(const TraceOptions& options)
      : random(options.seed), options_(options), homes_(options.affinity > 0.0) {}

  // The client that does the work of what is at home at `home`.
  std::uint32_t client_for(std::uint32_t home) {
    if (homes_ && random.uniform() < options_.affinity) return home % options_.clients;
    return static_cast<std::uint32_t>(random.below(options_.clients));
  }
  // One of `n` places with the same home as `home` (places go round the clients), or any of them.
  std::uint32_t near(std::uint32_t home, std::uint32_t n) {
    const auto any = static_cast<std::uint32_t>(random.below(n));
    if (!homes_ || random.uniform() >= options_.affinity) return any;
    const std::uint32_t place = any - any % options_.clients + home % options_.clients;
    return place < n ? place : home % n;
  }
  void add(double time_ns, std::uint32_t client, std::uint64_t lock, double hold_ns) {
    trace.push_back({static_cast<Nanoseconds>(time_ns), client, lock,
                     std::max<Nanoseconds>(1, static_cast<Nanoseconds>(hold_ns))});
  }
  [[nodiscard]] bool full() const { return trace.size() >= options_.requests; }

  // Times so far are in units of work; stretched until the busiest lock is held for the share of
  // time that was asked for.
  void stretch() {
    std::map<std::uint64_t, double> held;
    double busiest = 0.0;
    for (const TraceRequest& request : trace) {
      busiest = std::max(busiest, held[request.lock] += static_cast<double>(request.hold_ns));
    }
    const double now_ns = static_cast<double>(trace.back().time_ns - trace.front().time_ns);
    const double factor = now_ns > 0.0 ? busiest / load() / now_ns : 1.0;
    for (TraceRequest& request : trace) {
      request.time_ns = static_cast<Nanoseconds>(static_cast<double>(request.time_ns) * factor);
    }
  }

  [[nodiscard]] double load() const {
    if (options_.load > 0.0) return options_.load;
    return options_.kind == TraceKind::kSmallBank ? 0.1 : 0.3;
  }

  Random random;
  std::vector<TraceRequest> trace;

 private:
  const TraceOptions& options_;
  bool homes_;
};

void generate_zipf(const TraceOptions& options, Writer& out) {
  const std::uint32_t locks = options.size != 0 ? options.size : 2000;
  const ZipfRanks ranks(locks, options.exponent);
  std::vector<std::uint32_t> homes(locks);
  for (auto& home : homes) home = static_cast<std::uint32_t>(out.random.below(options.clients));
  for (double now_ns = 0.0; !out.full(); now_ns += 1e6 * out.random.exponential()) {
    if (out.random.uniform() < options.moves_per_1000 / 1000.0) {
      homes[out.random.below(locks)] =
          static_cast<std::uint32_t>(out.random.below(options.clients));
    }
    const std::uint32_t lock = ranks.draw(out.random);
    out.add(now_ns, out.client_for(homes[lock]), lock + 1,
            static_cast<double>(options.hold_ns) * out.random.exponential());
  }
}

// TPC-C's non-uniform random number (clause 2.1.6).
std::uint32_t nu_rand(Random& random, std::uint32_t a, std::uint32_t n) {
  return static_cast<std::uint32_t>((random.below(a + 1) | random.below(n)) % n);
}

// The write transactions of TPC-C (new order and payment, half each), their locks taken one after
// another and held to the end, on pages as databases on shared disks lock them: 500 stock rows or
// 100 customers to a page. By the standard 1% of stock and 15% of paying customers are another
// warehouse's. A client is an application server that is home to some warehouses.
class Tpcc {
 public:
  Tpcc(const TraceOptions& options, Writer& out)
      : options_(options),
        out_(out),
        warehouses_(options.size != 0 ? options.size : 2 * options.clients) {}

  void run() {
    for (double now_ns = 0.0; !out_.full(); now_ns += 1e6 * out_.random.exponential()) {
      const auto warehouse = static_cast<std::uint32_t>(out_.random.below(warehouses_));
      const std::uint32_t client = out_.client_for(warehouse);
      std::vector<std::uint64_t> locks;
      const auto district = static_cast<std::uint32_t>(out_.random.below(10));
      if (out_.random.uniform() < 0.5) {
        new_order(warehouse, district, locks);
      } else {
        payment(warehouse, district, locks);
      }
      take(now_ns, client, locks);
    }
  }

 private:
  enum Table : std::uint64_t { kWarehouse = 1, kDistrict, kCustomer, kStock };
  static std::uint64_t page(Table table, std::uint64_t warehouse, std::uint64_t row) {
    return static_cast<std::uint64_t>(table) << 56 | warehouse << 32 | row;
  }
  [[nodiscard]] std::uint32_t other_than(std::uint32_t warehouse) {
    return static_cast<std::uint32_t>(
        (warehouse + 1 + out_.random.below(std::max(1U, warehouses_ - 1))) % warehouses_);
  }
  void new_order(std::uint32_t warehouse, std::uint32_t district,
                 std::vector<std::uint64_t>& locks) {
    locks.push_back(page(kDistrict, warehouse, district));
    const std::uint64_t lines = 5 + out_.random.below(11);
    for (std::uint64_t i = 0; i < lines; ++i) {
      const std::uint32_t from = out_.random.uniform() < 0.01 ? other_than(warehouse) : warehouse;
      locks.push_back(page(kStock, from, nu_rand(out_.random, 8191, 100'000) / 500));
    }
  }
  void payment(std::uint32_t warehouse, std::uint32_t district, std::vector<std::uint64_t>& locks) {
    locks.push_back(page(kWarehouse, warehouse, 0));
    locks.push_back(page(kDistrict, warehouse, district));
    const bool remote = out_.random.uniform() < 0.15;
    const std::uint64_t of = remote ? out_.random.below(10) : district;
    locks.push_back(page(kCustomer, remote ? other_than(warehouse) : warehouse,
                         of * 30 + nu_rand(out_.random, 1023, 3000) / 100));
  }
  void take(double now_ns, std::uint32_t client, std::vector<std::uint64_t>& locks) {
    std::sort(locks.begin(), locks.end());
    locks.erase(std::unique(locks.begin(), locks.end()), locks.end());
    const double length = static_cast<double>(options_.hold_ns) * out_.random.exponential();
    for (std::size_t i = 0; i < locks.size(); ++i) {
      const double part = static_cast<double>(i) / static_cast<double>(locks.size());
      out_.add(now_ns + part * length, client, locks[i], (1.0 - part) * length);
    }
  }

  const TraceOptions& options_;
  Writer& out_;
  std::uint32_t warehouses_;
};

// SmallBank (Alomari et al., ICDE 2008): a checking and a savings account to a customer, nine of
// ten transactions on a hundredth of the customers; two of five touch two of them.
void generate_small_bank(const TraceOptions& options, Writer& out) {
  const std::uint32_t customers = options.size != 0 ? options.size : 10'000;
  const std::uint32_t hot = std::max(options.clients, customers / 100);
  const auto checking = [](std::uint64_t customer) { return 2 * customer + 2; };
  const auto savings = [](std::uint64_t customer) { return 2 * customer + 3; };
  for (double now_ns = 0.0; !out.full(); now_ns += 1e6 * out.random.exponential()) {
    const std::uint32_t range = out.random.uniform() < 0.9 ? hot : customers;
    const auto customer = static_cast<std::uint32_t>(out.random.below(range));
    const std::uint32_t client = out.client_for(customer);
    const double length = static_cast<double>(options.hold_ns) * out.random.exponential();
    const double kind = out.random.uniform();
    if (kind < 0.25) {  // send payment
      out.add(now_ns, client, checking(customer), length);
      out.add(now_ns, client, checking(out.near(customer, range)), length);
    } else if (kind < 0.40) {  // amalgamate
      out.add(now_ns, client, checking(customer), length);
      out.add(now_ns, client, savings(customer), length);
      out.add(now_ns, client, checking(out.near(customer, range)), length);
    } else if (kind < 0.55) {  // transact savings
      out.add(now_ns, client, savings(customer), length);
    } else {  // deposit, write check
      out.add(now_ns, client, checking(customer), length);
    }
  }
}

}  // namespace

bool parse_trace_kind(std::string_view name, TraceKind& kind) {
  if (name == "zipf") {
    kind = TraceKind::kZipf;
  } else if (name == "tpcc") {
    kind = TraceKind::kTpcc;
  } else if (name == "smallbank") {
    kind = TraceKind::kSmallBank;
  } else {
    return false;
  }
  return true;
}

std::vector<TraceRequest> generate_trace(const TraceOptions& options) {
  Writer out(options);
  if (options.kind == TraceKind::kZipf) generate_zipf(options, out);
  if (options.kind == TraceKind::kTpcc) Tpcc(options, out).run();
  if (options.kind == TraceKind::kSmallBank) generate_small_bank(options, out);
  if (out.trace.empty()) return {};
  const auto by_time = [](const TraceRequest& a, const TraceRequest& b) {
    return a.time_ns < b.time_ns;
  };
  std::stable_sort(out.trace.begin(), out.trace.end(), by_time);
  out.stretch();
  return std::move(out.trace);
}

}  // namespace driftlock
