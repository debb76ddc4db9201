#!/usr/bin/env python3
"""100,000 acquire/release pairs over 1,000 keys from 50 sessions, the clients in another namespace
than the node and a relay between them that drops, duplicates and reorders 1% each, both ways: no
lock is held twice, every operation is answered, nothing is left behind, and what the clients were told
is linearizable.

usage: lossy_network.py DRIFTLOCKD RELAY LOCK_STORM DRIFTLOCK_CHECK (af_xdp | af_packet | socket) [PAIRS [SEED]]
"""

import os
import pathlib
import re
import sys
import tempfile
import time

from netns import Namespace, Process, VethPair, need_namespaces, run, skip

NODE = "10.99.2.1"
USER = "10.99.2.2"
UDP_PORT = 4780
RELAY_PORT = 4781
METRICS = "127.0.0.1:9478"
SESSIONS = 50
KEYS = 1000
PER_CENT = "1"


def write_configuration(directory, kind, interface):
    """Returns the paths of the node's configuration and of the key file."""
    folder = pathlib.Path(directory)
    keys = folder / "keys.toml"
    keys.touch(mode=0o600)
    keys.write_text(f'[[client]]\nid = 1\nname = "storm"\nkey = "{os.urandom(32).hex()}"\n')
    port = 'kind = "socket"' if kind == "socket" else (
        f'kind = "dpdk"\ndevice = "net_{kind}0,iface={interface}"')
    config = folder / "driftlockd.toml"
    config.write_text(f"""
[node]
state_directory = "{folder}/state"
[port]
{port}
address = "{NODE}"
udp_port = {UDP_PORT}
[clock]
trust_unsynchronized = true
[auth]
keys_file = "{keys}"
[metrics]
address = "{METRICS}"
[admin]
socket = "{folder}/admin.sock"
""")
    return config, keys


def fetch_metrics(namespace):
    program = ("import sys, urllib.request as r;"
               "print(r.urlopen(sys.argv[1], timeout=10).read().decode())")
    return run([sys.executable, "-c", program, f"http://{METRICS}/metrics"], namespace)


def value_of(metrics, name):
    return float(re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", metrics, re.M).group(1))


def wait_until_empty(namespace):
    """Sessions whose closing was lost end with their lease."""
    names = [f"driftlock_{what}" for what in ("sessions", "locks", "holders", "waiters")]
    deadline = time.monotonic() + 30
    while True:
        metrics = fetch_metrics(namespace)
        left = {name: value_of(metrics, name) for name in names}
        if not any(left.values()):
            return metrics
        if time.monotonic() > deadline:
            raise AssertionError(f"left behind: {left}")
        time.sleep(0.2)


def check_relay(output):
    """The network was as bad as it was meant to be."""
    for direction in ("to_node", "to_client"):
        counts = re.search(
            rf"{direction} received (\d+) dropped (\d+) duplicated (\d+) reordered (\d+)", output)
        received, *harmed = map(int, counts.groups())
        for count in harmed:
            assert 0.008 <= count / received <= 0.012, (direction, received, harmed)


def main():
    driftlockd, relay, lock_storm, check, kind = sys.argv[1:6]
    pairs = sys.argv[6] if len(sys.argv) > 6 else "100000"
    seed = sys.argv[7] if len(sys.argv) > 7 else "20261124"
    need_namespaces()
    with tempfile.TemporaryDirectory() as directory, Namespace("node") as node, \
            Namespace("user") as user, VethPair(
                node, f"{NODE}/24" if kind == "socket" else None, user, f"{USER}/24") as veth:
        config, keys = write_configuration(directory, kind, veth.left)
        with Process([driftlockd, "--config", config], node) as server:
            try:
                server.wait_for("ready")
            except AssertionError:
                if kind == "af_xdp" and re.search("not supported|Operation not", server.output):
                    skip(f"no AF_XDP here: {server.output}")
                raise
            relay_command = [relay, USER, RELAY_PORT, NODE, UDP_PORT, seed] + [PER_CENT] * 3
            with Process(relay_command, user) as middle:
                middle.wait_for("^ready")
                history = str(pathlib.Path(directory) / "history.jsonl")
                print(run([lock_storm, f"{USER}:{RELAY_PORT}", str(keys), str(SESSIONS), pairs,
                           str(KEYS), seed, history], user, timeout_s=400), flush=True)
                print(run([check, history]).replace(history, "history"), flush=True)
                metrics = wait_until_empty(node)
                assert middle.stop() == 0, middle.output
                print(middle.output)
                check_relay(middle.output)
            # What a release is off by, its clock's part and its holder's.
            assert value_of(metrics, "driftlock_release_clock_residual_seconds_count") > 0
            assert value_of(metrics, "driftlock_release_held_longer_seconds_count") > 0
            assert value_of(metrics, "driftlock_release_held_shorter_seconds_count") > 0
            for name in ("operations", "receive_stamps", "sessions_expired", "datagrams_received"):
                print(*re.findall(rf"^driftlock_{name}_total.* [1-9]\S*$", metrics, re.M), sep="\n")
            assert server.stop() == 0, server.output


if __name__ == "__main__":
    main()
