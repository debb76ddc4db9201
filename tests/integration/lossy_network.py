#!/usr/bin/env python3
"""100,000 acquire/release pairs over 1,000 keys from 50 sessions, the clients in another namespace
than the node and a relay between them that drops, duplicates and reorders 1% each, both ways: no
lock is held twice, every operation is answered, nothing is left behind.

usage: lossy_network.py LOCK_NODE RELAY LOCK_STORM (af_xdp | af_packet | socket) [PAIRS [SEED]]
"""

import os
import re
import sys
import tempfile

from netns import Namespace, Process, VethPair, need_namespaces, run, skip

NODE = "10.99.2.1"
USER = "10.99.2.2"
UDP_PORT = 4780
RELAY_PORT = 4781
SESSIONS = 50
KEYS = 1000
PER_CENT = "1"


def node_command(program, kind, interface, key_file):
    if kind == "socket":
        return [program, "socket", NODE, UDP_PORT, key_file]
    return [program, "dpdk", f"net_{kind}0,iface={interface}", NODE, UDP_PORT, key_file]


def write_key_file(directory):
    path = os.path.join(directory, "keys.toml")
    with open(path, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as file:
        file.write(f'[[client]]\nid = 1\nname = "storm"\nkey = "{os.urandom(32).hex()}"\n')
    return path


def check_relay(output):
    """The network was as bad as it was meant to be."""
    for direction in ("to_node", "to_client"):
        counts = re.search(
            rf"{direction} received (\d+) dropped (\d+) duplicated (\d+) reordered (\d+)", output)
        received, *harmed = map(int, counts.groups())
        for count in harmed:
            assert 0.008 <= count / received <= 0.012, (direction, received, harmed)


def main():
    lock_node, relay, lock_storm, kind = sys.argv[1:5]
    pairs = sys.argv[5] if len(sys.argv) > 5 else "100000"
    seed = sys.argv[6] if len(sys.argv) > 6 else "20261124"
    need_namespaces()
    with tempfile.TemporaryDirectory() as directory, Namespace("node") as node, \
            Namespace("user") as user, VethPair(
                node, f"{NODE}/24" if kind == "socket" else None, user, f"{USER}/24") as veth:
        key_file = write_key_file(directory)
        with Process(node_command(lock_node, kind, veth.left, key_file), node) as server:
            try:
                server.wait_for("^ready")
            except AssertionError:
                if kind == "af_xdp" and re.search("not supported|Operation not", server.output):
                    skip(f"no AF_XDP here: {server.output}")
                raise
            relay_command = [relay, USER, RELAY_PORT, NODE, UDP_PORT, seed] + [PER_CENT] * 3
            with Process(relay_command, user) as middle:
                middle.wait_for("^ready")
                print(run([lock_storm, f"{USER}:{RELAY_PORT}", key_file, str(SESSIONS), pairs,
                           str(KEYS), seed], user, timeout_s=400), flush=True)
                # Sessions whose closing was lost end with their lease.
                server.wait_for("sessions 0 locks 0 holders 0 waiters 0", after=f"sessions {SESSIONS}")
                assert middle.stop() == 0, middle.output
                print(middle.output)
                check_relay(middle.output)
            assert server.stop() == 0, server.output
            print("\n".join(server.output.splitlines()[-25:]))


if __name__ == "__main__":
    main()
