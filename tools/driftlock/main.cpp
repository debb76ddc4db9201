// The `driftlock` command: what it can be told, and which subcommand does it.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>

#include "tools/clock/commands.hpp"
#include "tools/doctor/commands.hpp"
#include "tools/driftlock/hold.hpp"
#include "tools/driftlock/report.hpp"
#include "tools/driftlock/settings.hpp"

namespace driftlock::cli {
namespace {

constexpr const char* kVersionText = "driftlock " DRIFTLOCK_VERSION;
constexpr const char* kFooter =
    "Settings come from options, else the environment (DRIFTLOCK_SERVER, DRIFTLOCK_KEY_FILE,\n"
    "DRIFTLOCK_CLIENT_ID, DRIFTLOCK_NAMESPACE), else /etc/driftlock/client.toml.\n"
    "Exit codes: 0 done; 1 refused (busy, timeout, not held); 2 usage or configuration;\n"
    "3 no answer from the node; 4 the lease was lost; 128+N ended by signal N.\n"
    "`run` exits as its command does, else 123 the lease was lost and the command stopped;\n"
    "124 the lock was refused; 125 driftlock failed; 126, 127 the command cannot be run, found.";

void add_duration(CLI::App& app, const std::string& name, Nanoseconds& value,
                  const std::string& help) {
  app.add_option_function<std::string>(
      name,
      [&value](const std::string& given) {
        const Result<Nanoseconds> parsed = parse_duration(given);
        if (!parsed.ok()) throw CLI::ValidationError(parsed.error().message);
        value = parsed.value();
      },
      help);
}

void add_lock_options(CLI::App& app, Settings& settings) {
  app.add_option("key", settings.key, "the lock's name, 1 to 64 bytes")->required();
  add_duration(app, "--wait,-w", settings.wait_ns, "how long to wait for the lock [forever]");
  app.add_flag_callback(
      "--try", [&settings] { settings.wait_ns = 0; }, "do not wait: --wait 0");
  app.add_flag("--shared,-s", settings.shared, "a shared lock");
  app.add_option("--permits-max", settings.permits_max,
                 "a semaphore of that many permits instead of a lock");
  app.add_option("--permits", settings.permits, "how many of them [1]");
  add_duration(app, "--term", settings.term_ns, "lease term wanted [the node's default]");
}

void add_common_options(CLI::App& app, Settings& settings, std::string& config) {
  app.add_option("--config", config, "settings file [/etc/driftlock/client.toml]");
  app.add_option("--server", settings.server, "the node, HOST:PORT")->envname("DRIFTLOCK_SERVER");
  app.add_option("--key-file", settings.key_file, "this client's key")
      ->envname("DRIFTLOCK_KEY_FILE");
  app.add_option("--client-id", settings.client_id, "which key, if the file has several")
      ->envname("DRIFTLOCK_CLIENT_ID");
  app.add_option("--namespace,-n", settings.namespace_id, "number of the namespace [0]")
      ->envname("DRIFTLOCK_NAMESPACE");
  add_duration(app, "--timeout", settings.timeout_ns, "how long to wait for an answer [5s]");
  app.add_option("--admin", settings.admin, "the node's admin socket");
  app.add_flag("--json", settings.json, "one JSON object per line");
}

void add_probe(CLI::App& probe, Settings& settings) {
  probe.add_option("--interface,-i", settings.interface, "where to watch")->required();
  probe.add_option("--hook", settings.hook, "tc, or xdp for what comes in [tc]")
      ->check(CLI::IsMember({"tc", "xdp"}));
  probe.add_option("--ports", settings.ports, "the nodes' UDP ports, FIRST or FIRST-LAST [4780]");
  add_duration(probe, "--interval", settings.interval_ns, "from one report to the next [1s]");
  probe.add_option("--rounds", settings.rounds, "how many intervals [without end]");
  probe.add_flag("--watch-only", settings.watch_only, "print, and report to nobody");
}

using Command = std::function<int(const Settings&, const Report&)>;

void add_commands(CLI::App& app, Settings& settings, Command& chosen) {
  const auto add = [&](const char* name, const char* help, Command command) {
    CLI::App* sub = app.add_subcommand(name, help);
    sub->fallthrough();
    sub->parse_complete_callback([&chosen, command] { chosen = command; });
    return sub;
  };
  CLI::App* lock = add("lock", "take a lock and hold it until Ctrl-C", lock_command);
  add_lock_options(*lock, settings);
  lock->add_flag("--detach,-d", settings.detach,
                 "leave it held until `driftlock unlock` or the end of --term");
  CLI::App* unlock = add("unlock", "release a lock that was detached", unlock_command);
  unlock->add_option("key", settings.key, "the lock's name")->required();
  CLI::App* run = add("run", "hold a lock while a command runs: run KEY -- COMMAND", run_command);
  add_lock_options(*run, settings);
  add_duration(*run, "--grace", settings.grace_ns,
               "SIGTERM this long before a lease that is not renewed ends, SIGKILL then [1s]");
  run->add_option("command", settings.command, "the command and its arguments")->required();
  add("status", "the node's state, from its admin socket", status_command);
  CLI::App* holders = add("holders", "who holds what, from the admin socket", holders_command);
  holders->add_option("--limit", settings.limit, "locks shown at most [100]");
  holders->add_flag("--waiting", settings.waiting, "who waits for whom");
  CLI::App* predict =
      add("predict", "what prediction does, from the admin socket; or its kill switch",
          predict_command);
  predict->add_option("mode", settings.mode, "off, shadow or act, from now on")
      ->check(CLI::IsMember({"off", "shadow", "act"}));
  CLI::App* clock = add("clock", "the node's clock; with a subcommand, any clock", clock_command);
  clock->add_flag("--remote", settings.by_protocol,
                  "ask by the protocol, and compare this machine's clock, instead of at the admin "
                  "socket");
  clock->add_flag("--watch", settings.watch, "a look at each interval, until interrupted");
  add_duration(*clock, "--interval", settings.interval_ns, "from one look to the next [1s]");
  // The subcommands work on clocks themselves. A parent's callback comes after its child's.
  const auto choose = [&chosen](const ClockCommand& command) {
    chosen = [command](const Settings& given, const Report&) { return command(given.json); };
  };
  add_clock_commands(*clock, choose);
  clock->parse_complete_callback([&chosen, clock] {
    if (clock->get_subcommands().empty()) chosen = clock_command;
  });
  CLI::App* cluster =
      add("cluster", "the cluster as this node sees it, from its admin socket", cluster_command);
  cluster->add_flag("--clocks", settings.clocks, "everyone's clocks")->required();
  CLI::App* keygen = add("keygen", "a new client's key", keygen_command);
  keygen->add_option("--name", settings.name, "for people; --client-id gives the number [1]");
  add_probe(*add("probe", "watch the answers to this host's clients, and report to their nodes",
                 probe_command),
            settings);
  CLI::App* ping = add("ping", "round trip to the node and back", ping_command);
  ping->add_option("--count,-c", settings.count, "how many [5]");
}

// What looks at the machine and not at a node's locks.
void add_machine_commands(CLI::App& app, const std::shared_ptr<doctor::DoctorSettings>& machine,
                          Command& chosen) {
  const auto add = [&](const char* name, const char* help,
                       int (*command)(const doctor::DoctorSettings&, bool)) {
    CLI::App* sub = app.add_subcommand(name, help);
    sub->fallthrough();
    sub->add_option("--node-config", machine->config,
                    "the node's options [/etc/driftlock/driftlockd.toml]");
    sub->add_option("--interface,-i", machine->interface, "the NIC [the node's]");
    sub->add_option("--only", machine->only, "one check, by its name");
    sub->add_option("--etcd", machine->etcd, "HOST:PORT of the cluster's etcd");
    sub->parse_complete_callback([&chosen, machine, command] {
      chosen = [machine, command](const Settings& given, const Report&) {
        return command(*machine, given.json);
      };
    });
    return sub;
  };
  add("doctor", "what is wrong with this machine, why it matters, and what mends it",
      doctor::doctor_command);
  CLI::App* setup =
      add("setup", "what doctor can mend by itself: shows it, and does it with --apply",
          doctor::setup_command);
  setup->add_flag("--apply,!--dry-run", machine->apply, "do it");
}

// The settings file is read before the options, which override it, so it must be known first.
std::string config_path(int argc, char** argv, bool& named) {
  named = true;
  for (int i = 1; i < argc && std::string(argv[i]) != "--"; ++i) {
    const std::string argument = argv[i];
    if (argument == "--config" && i + 1 < argc) return argv[i + 1];
    if (argument.rfind("--config=", 0) == 0) return argument.substr(9);
  }
  named = false;
  return "/etc/driftlock/client.toml";
}

int check(const Settings& settings, const Report& report) {
  if (settings.key.size() > wire::kKeyBytesMax) {
    return report.fail(kExitUsage, "usage", "the lock's name has more than 64 bytes");
  }
  if (settings.shared && settings.permits_max > 0) {
    return report.fail(kExitUsage, "usage", "--shared and --permits-max exclude each other");
  }
  return kExitOk;
}

int main_with(int argc, char** argv) {
  Settings settings;
  bool named = false;
  std::string config = config_path(argc, argv, named);
  const Status loaded = load_settings(config, named, settings);
  if (!loaded.ok()) {
    return Report(false).fail(kExitUsage, "configuration", loaded.error().message);
  }
  CLI::App app("Distributed locks from a terminal or a script.", "driftlock");
  app.set_version_flag("--version", kVersionText);
  app.footer(kFooter);
  app.require_subcommand(1);
  add_common_options(app, settings, config);
  Command chosen;
  add_commands(app, settings, chosen);
  add_machine_commands(app, std::make_shared<doctor::DoctorSettings>(), chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  const Report report(settings.json);
  const int refused = check(settings, report);
  return refused != kExitOk ? refused : chosen(settings, report);
}

}  // namespace
}  // namespace driftlock::cli

int main(int argc, char** argv) {
  return driftlock::cli::main_with(argc, argv);
}
