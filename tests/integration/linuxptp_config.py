"""The ptp4l and phc2sys configurations in hw/linuxptp, each given to the real program over veth. No
interface here has a PHC, so software time stamps take the place of the hardware's, and nothing steers
the machine's clock (free_running); all else is as in the file.

usage: linuxptp_config.py FOLDER
"""

import contextlib
import os
import shutil
import sys
import tempfile

from netns import Namespace, Process, VethPair, need_namespaces, run, skip

PTP4L = ["kernel-af-xdp", "mlx5-bifurcated", "pf-kernel-vf-dpdk", "two-ports"]


def ptp4l(folder, name, interface, socket, *more):
    return ["ptp4l", "-f", f"{folder}/{name}.conf", "-i", interface, "-S", "-m", "--free_running=1",
            "--logAnnounceInterval=-1", "--logSyncInterval=-3", f"--uds_address={socket}", *more]


def start_pair(stack, folder, sockets, name, number):
    master = stack.enter_context(Namespace(f"cfg{number}m"))
    node = stack.enter_context(Namespace(f"cfg{number}n"))
    veth = stack.enter_context(VethPair(master, "10.96.0.1/24", node, "10.96.0.2/24"))
    stack.enter_context(Process(
        ptp4l(folder, name, veth.left, f"{sockets}/{name}.m", "--slaveOnly=0",
              "--slave_event_monitor="), namespace=master))
    # Nobody listens at its slave_event_monitor: ptp4l must not mind.
    return stack.enter_context(Process(
        ptp4l(folder, name, veth.right, f"{sockets}/{name}.n",
              f"--slave_event_monitor={sockets}/{name}.e"), namespace=node))


def check_phc2sys(folder, stack):
    lone = stack.enter_context(Namespace("cfgp"))
    veth = stack.enter_context(VethPair(lone, None, lone, None))
    # An interface without a PHC: phc2sys reads its configuration, and ends for want of a clock.
    said = run(["phc2sys", "-f", f"{folder}/phc2sys.conf", "-s", veth.left, "-c", "CLOCK_REALTIME",
                "-O", "0", "-m"], namespace=lone, check=False)
    for bad in ("parse", "unknown option", "out of range", "line"):
        assert bad not in said, said
    print("phc2sys.conf: read")


def main():
    need_namespaces()
    for program in ("ptp4l", "phc2sys"):
        if shutil.which(program, path="/usr/sbin:/sbin:/usr/bin") is None:
            skip(f"{program} (package linuxptp) is not installed")
    folder = sys.argv[1]
    files = {name[:-5] for name in os.listdir(folder) if name.endswith(".conf")}
    assert files == {*PTP4L, "phc2sys"}, files
    with tempfile.TemporaryDirectory() as sockets, contextlib.ExitStack() as stack:
        nodes = [start_pair(stack, folder, sockets, name, number)
                 for number, name in enumerate(PTP4L)]
        for name, node in zip(PTP4L, nodes):
            node.wait_for("LISTENING to UNCALIBRATED on RS_SLAVE", timeout_s=40)
            assert "rror" not in node.output, node.output
            print(f"{name}.conf: ptp4l takes it and follows a master")
        check_phc2sys(folder, stack)


if __name__ == "__main__":
    main()
