"""The clock over a real chronyd: a server and a client in two namespaces joined by veth, both with
-x, so that neither touches the machine's clock. The client's chronyd comes, follows, goes.

usage: chrony_test.py CLOCK_WATCH
"""

import os
import shutil
import sys
import tempfile
import time

from netns import Namespace, Process, VethPair, need_namespaces, skip

# Where another time daemon keeps the machine's clock, tools/install unpacks chronyd here and
# installs nothing.
UNPACKED = "/usr/local/lib/driftlock-test/chrony/usr/sbin"

SERVER = """local stratum 8
allow 10.97.0.0/24
"""
CLIENT = """server 10.97.0.1 iburst minpoll -2 maxpoll 0
"""
COMMON = """bindcmdaddress 127.0.0.1
bindcmdaddress {folder}/{role}.sock
pidfile {folder}/{role}.pid
cmdport 323
"""


def configure(chronyd, folder, role, text):
    path = f"{folder}/{role}.conf"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + COMMON.format(folder=folder, role=role))
    return [chronyd, "-x", "-d", "-u", "root", "-f", path]


def wait_until(watch, wanted, what, timeout_s=40):
    start = len(watch.output.splitlines())
    deadline = time.monotonic() + timeout_s
    while not wanted(watch.output.splitlines()[start:]):
        if time.monotonic() > deadline or not watch.running():
            raise AssertionError(f"no {what}:\n{watch.output}")
        time.sleep(0.1)
    return watch.output.splitlines()[start:]


def run_client(clock_watch, client, namespace):
    with Process([clock_watch, "chrony"], namespace=namespace) as watch:
        watch.wait_for(r"LOST .*is chronyd running")
        with Process(client, namespace=namespace):
            watch.wait_for(r"SYNC \d+", timeout_s=40)
            print("SYNC:", watch.output.splitlines()[-1])
        lines = wait_until(watch, lambda new: sum("HOLDOVER" in line for line in new) >= 10,
                           "HOLDOVER")
        widths = [int(line.split()[1]) for line in lines if line.startswith("HOLDOVER")]
        assert widths == sorted(widths) and widths[-1] > widths[0], widths
        print(f"chronyd gone: HOLDOVER, half width grows from {widths[0]} to {widths[-1]} ns")
        with Process(client, namespace=namespace):
            wait_until(watch, lambda new: any(line.startswith("SYNC") for line in new), "SYNC")
            print("chronyd back: SYNC")


def main():
    need_namespaces()
    chronyd = shutil.which("chronyd", path=f"/usr/sbin:/sbin:/usr/bin:{UNPACKED}")
    if chronyd is None:
        skip("chronyd (package chrony) is not installed")
    # chronyd wants its sockets' folder for itself.
    with tempfile.TemporaryDirectory() as folder, Namespace("chrs") as server, \
            Namespace("chrc") as client, \
            VethPair(server, "10.97.0.1/24", client, "10.97.0.2/24"):
        os.chmod(folder, 0o700)
        follower = configure(chronyd, folder, "client", CLIENT)
        with Process(configure(chronyd, folder, "server", SERVER), namespace=server):
            with Process([sys.argv[1], "chrony"], namespace=server) as watch:
                watch.wait_for(r"LOST .*follows its own clock")
                print("a chronyd that follows nobody is refused")
            run_client(sys.argv[1], follower, client)


if __name__ == "__main__":
    main()
