#!/usr/bin/env python3
"""Runs bench_over_port over a pair of ports that it makes: AF_XDP or af_packet on the two ends of a
veth pair in a namespace of its own, or memif inside the process.

usage: over_port.py BENCH_OVER_PORT (af_xdp | af_packet | memif) [OUTSTANDING ...]
"""

import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "integration"))

from netns import Namespace, VethPair, need_namespaces, run  # noqa: E402


def main():
    program, transport, *outstanding = sys.argv[1:]
    need_namespaces()
    with tempfile.TemporaryDirectory() as directory, Namespace("bench") as space, \
            VethPair(space, None, space, None) as veth:
        if transport == "memif":
            path = os.path.join(directory, "memif.sock")
            vdevs = [f"net_memif{i},role={role},id=0,socket={path},socket-abstract=no"
                     for i, role in enumerate(("server", "client"))]
        else:
            vdevs = [f"net_{transport}{i},iface={name}"
                     for i, name in enumerate((veth.left, veth.right))]
        print(transport, flush=True)
        lines = run([program, *vdevs, *outstanding], space, timeout_s=300).splitlines()
        print("\n".join(line for line in lines if not line.startswith("lib")))


if __name__ == "__main__":
    main()
