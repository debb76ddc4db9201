#!/usr/bin/env python3
"""Three nodes in three namespaces, whose clocks are rehearsed; one is pushed by 1 ms, 100 us, 10 us, or
runs away by 50 ppm. It is found by the others and by itself, goes through the stages of adjustment and
back; and at no look of a thousand a second was the truth outside what any node published, so that no
lease was judged by a false time. Prints how long each step took; asserts on none of these times.

usage: cluster_clocks.py DRIFTLOCKD DRIFTLOCK CLOCK_TRUTH
"""

import calendar
import json
import pathlib
import re
import sys
import tempfile
import time
from contextlib import ExitStack

from netns import Namespace, Process, need_namespaces, run

KEY = """[[client]]
id = 1
name = "cluster"
key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
"""
NODES = (1, 2, 3)
PUSHED = 3
PUSHES = {"1 ms": {"offset_ns": 1_000_000}, "100 us": {"offset_ns": -100_000},
          "10 us": {"offset_ns": 10_000}, "50 ppm": {"drift_ppb": 50_000.0}}


class Cluster:
    def __init__(self, folder, driftlockd, driftlock, namespace):
        self.folder = pathlib.Path(folder)
        self.driftlockd, self.driftlock, self.namespace = driftlockd, driftlock, namespace
        self.key_file = self.folder / "cluster.key"
        self.key_file.write_text(KEY)
        self.key_file.chmod(0o600)

    def configure(self, node):
        peers = ",".join(f"{other}@10.97.0.{other}:4781" for other in NODES if other != node)
        config = self.folder / f"{node}.toml"
        config.write_text(f"""
[node]
name = "node-{node}"
state_directory = "{self.folder}/state{node}"
[port]
address = "10.97.0.{node}"
[auth]
keys_file = "{self.key_file}"
[metrics]
address = "10.97.0.{node}:9478"
[admin]
socket = "{self.folder}/admin{node}.sock"
[clock]
source = "simulated"
interval_ms = 20
# One oscillator counts for all three nodes, and it is a good one.
worst_case_drift_ppb = 1000
tolerance_ppb = 100000
segment = "{self.folder}/clock{node}"
[gossip]
address = "10.97.0.{node}:4781"
node_id = {node}
key_file = "{self.key_file}"
peers = "{peers}"
interval_ms = 100
exchanges = 8
""")
        return config

    def daemon(self, node):
        return Process([self.driftlockd, "--config", self.configure(node)], self.namespace[node])

    def ask(self, node, **question):
        program = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
                   "s.sendall(sys.argv[2].encode() + b'\\n'); print(s.makefile().readline())")
        return json.loads(run([sys.executable, "-c", program, f"{self.folder}/admin{node}.sock",
                               json.dumps(question)]))

    def stage(self, node):
        return self.ask(node, command="clocks")["stage"]

    def clock_of(self, asked, node):
        clocks = self.ask(asked, command="clocks")["clocks"]
        return next((clock for clock in clocks if clock["node"] == node), None)


def until(what, check, timeout_s=40):
    deadline = time.monotonic() + timeout_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.05)


def join_by_bridge(stack, hub, namespaces):
    run(["ip", "link", "add", "br0", "type", "bridge"], hub)
    run(["ip", "link", "set", "br0", "up"], hub)
    for node, namespace in namespaces.items():
        run(["ip", "link", "add", "eth0", "netns", namespace.name, "type", "veth", "peer", "name",
             f"port{node}", "netns", hub.name])
        run(["ip", "address", "add", f"10.97.0.{node}/24", "dev", "eth0"], namespace)
        run(["ip", "link", "set", "eth0", "up"], namespace)
        run(["ip", "link", "set", f"port{node}", "master", "br0", "up"], hub)


def stage_times(daemon, since):
    """Seconds from the push to each stage, by the daemon's own log."""
    found = {}
    for line in daemon.output[since:].splitlines():
        match = re.match(r"(\S+) .*clock adjustment.* stage=(\S+)", line)
        if match:
            found.setdefault(match.group(2), match.group(1))
    return found


def seconds_of(stamp):
    match = re.match(r"(\d+-\d+-\d+T\d+:\d+:\d+)(\.\d+)?", stamp)
    base = time.strptime(match.group(1) + " UTC", "%Y-%m-%dT%H:%M:%S %Z")
    return calendar.timegm(base) + float(match.group(2) or 0)


def push(cluster, daemons, name, fault):
    mark = len(daemons[PUSHED].output)
    peers_mark = {node: len(daemons[node].output) for node in NODES if node != PUSHED}
    pushed_at = time.time()
    cluster.ask(PUSHED, command="rehearse", **fault)
    until(f"{name}: the pushed node is outside",
          lambda: cluster.stage(PUSHED) in ("outside", "handing-over"))
    until(f"{name}: a peer has seen it", lambda: any(
        "a peer's clock is off" in daemons[node].output[at:] for node, at in peers_mark.items()))
    for node in peers_mark:
        assert cluster.stage(node) == "normal", (name, node, daemons[node].output[-2000:])
    shown = run([cluster.driftlock, "--admin", f"{cluster.folder}/admin{PUSHED}.sock", "cluster",
                 "--clocks"])
    cluster.ask(PUSHED, command="rehearse", offset_ns=0, drift_ppb=0.0)
    until(f"{name}: it is back", lambda: cluster.stage(PUSHED) == "normal")
    times = {stage: seconds_of(stamp) - pushed_at
             for stage, stamp in stage_times(daemons[PUSHED], mark).items()}
    print(f"{name:>7}: suspect after {times['suspect']:.2f} s, withdrawn {times['withdrawn']:.2f} s, "
          f"handing over {times['handing-over']:.2f} s, outside {times.get('outside', -1):.2f} s",
          flush=True)
    return shown


def main():
    driftlockd, driftlock, clock_truth = sys.argv[1:]
    need_namespaces()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        hub = stack.enter_context(Namespace("hub"))
        namespaces = {node: stack.enter_context(Namespace(f"n{node}")) for node in NODES}
        join_by_bridge(stack, hub, namespaces)
        cluster = Cluster(folder, driftlockd, driftlock, namespaces)
        daemons = {node: stack.enter_context(cluster.daemon(node)) for node in NODES}
        for daemon in daemons.values():
            daemon.wait_for("^driftlockd ready")
        for node in NODES:
            cluster.ask(node, command="rehearse", max_error_ns=1000)
        until("all three hear each other", lambda: all(
            cluster.ask(node, command="clocks").get("voters") == 3 for node in NODES))
        time.sleep(3)
        floor = cluster.ask(1, command="clocks")
        print(f"before: fused half width {floor['fused_half_width_ns']} ns, worst closure "
              f"{floor['worst_closure_ns']} ns, round trips "
              f"{[c['round_trip_ns'] for c in floor['clocks'] if not c['self']]} ns", flush=True)
        with Process([clock_truth, *[f"{folder}/clock{node}" for node in NODES]]) as truth:
            truth.wait_for("watching")
            for name, fault in PUSHES.items():
                shown = push(cluster, daemons, name, fault)
            print(shown)
            code = truth.stop()
            print(truth.output, flush=True)
        assert code == 0, "the truth was outside what a node published"
        scraped = run([sys.executable, "-c", "import urllib.request as r; print(r.urlopen("
                       f"'http://10.97.0.{PUSHED}:9478/metrics', timeout=10).read().decode())"],
                      namespaces[PUSHED])
        entered = dict(re.findall(r'adjustment_entered_total\{stage="([a-z-]+)"\} (\d+)', scraped))
        assert int(entered["suspect"]) >= len(PUSHES), entered
        print("entered:", entered)
        for node, daemon in daemons.items():
            assert daemon.stop() == 0, daemon.output


if __name__ == "__main__":
    main()
