#!/usr/bin/env python3
"""Every kind of port echoes datagrams to a kernel client in another namespace; the DPDK ones answer
ARP and ping as well, since no kernel stands behind them.

usage: port_smoke.py PORT_ECHO (af_xdp | af_packet | socket)
"""

import os
import re
import subprocess
import sys

from netns import Namespace, Process, VethPair, need_namespaces, run, skip

NODE = "10.99.1.1"
USER = "10.99.1.2"
UDP_PORT = 4780
DATAGRAMS = 2000

# Runs in the client's namespace: sends, compares what comes back, in sizes up to the largest.
CLIENT = f"""
import os, socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(2)
lost = 0
for number in range({DATAGRAMS}):
    sent = number.to_bytes(4, "big") + os.urandom(number * 7 % 1404)
    client.sendto(sent, ("{NODE}", {UDP_PORT}))
    try:
        while (received := client.recv(2048))[:4] < sent[:4]:
            pass
        assert received == sent, number
    except TimeoutError:
        lost += 1
print("lost", lost)
sys.exit(lost > {DATAGRAMS} // 100)
"""


def echo_command(program, kind, interface):
    if kind == "socket":
        return [program, "socket", NODE, str(UDP_PORT)]
    vdev = f"net_{kind}0,iface={interface}"
    return [program, "dpdk", vdev, NODE, str(UDP_PORT)]


def main():
    program, kind = sys.argv[1:]
    need_namespaces()
    owns_interface = kind != "socket"
    with Namespace("node") as node, Namespace("user") as user, VethPair(
            node, None if owns_interface else f"{NODE}/24", user, f"{USER}/24") as veth:
        with Process(echo_command(program, kind, veth.left), node) as echo:
            try:
                echo.wait_for("^ready")
            except AssertionError:
                if "af_xdp" in kind and re.search("not supported|Operation not", echo.output):
                    skip(f"no AF_XDP here: {echo.output}")
                raise
            if owns_interface:
                print(run(["ping", "-c", "3", "-i", "0.2", "-W", "2", "-s", "999", NODE], user))
            # Odd bytes and full frames, through the kernel's own checks on the other side.
            print(run([sys.executable, "-c", CLIENT], user, timeout_s=120))
            assert echo.stop() == 0, echo.output
            print(echo.output)
            counted = int(re.search(r"received (\d+)", echo.output).group(1))
            assert counted >= DATAGRAMS * 99 // 100, counted
            stamp = re.search(r"stamp (\w+)", echo.output).group(1)
            assert stamp == ("software" if kind == "socket" else "tsc"), stamp


if __name__ == "__main__":
    main()
