"""The clock over a real ptp4l pair: two namespaces joined by veth, software time stamps, neither
steering the machine's clock (free_running). The master goes and comes back; the slave restarts.

`driftlock clock record` writes down the event timestamps that the slave publishes.

usage: ptp4l_test.py CLOCK_WATCH DRIFTLOCK
"""

import shutil
import sys
import tempfile
import time

from netns import Namespace, Process, VethPair, need_namespaces, skip

CONFIG = """[global]
time_stamping software
network_transport UDPv4
free_running 1
priority1 {priority}
slaveOnly {slave_only}
logSyncInterval -3
logAnnounceInterval -1
logMinDelayReqInterval -2
uds_address {folder}/{role}.sock
{more}
[{interface}]
"""


def configure(folder, role, interface, priority, slave_only, more=""):
    path = f"{folder}/{role}.cfg"
    with open(path, "w", encoding="utf-8") as file:
        file.write(CONFIG.format(folder=folder, role=role, interface=interface,
                                 priority=priority, slave_only=slave_only, more=more))
    return ["ptp4l", "-f", path, "-m"]


def widths_since(watch, start, state):
    """Half widths of the lines in `state` after the first `start` lines."""
    lines = [line.split() for line in watch.output.splitlines()[start:]]
    return [int(words[1]) for words in lines if words[0] == state]


def in_sync(lines):
    """The latest line is SYNC by a sample, not only for being recent."""
    return bool(lines) and lines[-1].startswith("SYNC") and len(lines[-1].split()) == 3


def wait_until(watch, start, wanted, what, timeout_s=40):
    """Waits until the lines after the first `start` satisfy `wanted`."""
    deadline = time.monotonic() + timeout_s
    while not wanted(watch.output.splitlines()[start:]):
        if time.monotonic() > deadline or not watch.running():
            raise AssertionError(f"no {what}:\n{watch.output}")
        time.sleep(0.1)


def check_recording(path):
    """Samples, and between them events whose times agree: one machine, software stamps, one clock."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    events = [line.split()[2:] for line in lines if line.startswith("# ptp ")]
    for kind in ["sync", "delay"]:
        spans = [int(received) - int(sent) for name, _, sent, received, _ in events if name == kind]
        assert spans, f"no {kind} event among {lines}"
        assert all(0 < span < 1e9 for span in spans), (kind, spans)
    samples = [line for line in lines if not line.startswith("#")]
    assert len(samples) > 10 and all(len(line.split()) == 7 for line in samples), lines
    print(f"recorded {len(samples)} samples, {len(events)} events of ptp4l's")


def run_pair(clock_watch, driftlock, folder, master_namespace, slave_namespace, veth):
    master = configure(folder, "master", veth.left, 100, 0)
    events = f"{folder}/events.sock"
    slave = configure(folder, "slave", veth.right, 200, 1, f"slave_event_monitor {events}")
    recording = f"{folder}/recording.txt"
    record = [driftlock, "clock", "record", "--source", "system", "--interval", "0.1",
              "--ptp4l-events", events, "--out", recording]
    with Process([clock_watch, f"{folder}/slave.sock"]) as watch:
        watch.wait_for(r"LOST .*does not listen")
        with Process(slave, namespace=slave_namespace):
            watch.wait_for(r"LOST .*follows no grandmaster")
            with Process(record) as recorder, Process(master, namespace=master_namespace):
                watch.wait_for(r"SYNC \d+ (?!000000)")
                print("SYNC with the master's identity: management data arrive")
                time.sleep(3)  # of Syncs and Delay_Reqs
                assert recorder.stop() == 0, recorder.output
            check_recording(recording)
            start = len(watch.output.splitlines())
            wait_until(watch, start, lambda lines: sum("HOLDOVER" in line for line in lines) >= 10,
                       "HOLDOVER")
            widths = widths_since(watch, start, "HOLDOVER")
            assert widths == sorted(widths) and widths[-1] > widths[0], widths
            print(f"master gone: HOLDOVER, half width grows from {widths[0]} to {widths[-1]} ns")
            back = len(watch.output.splitlines())
            with Process(master, namespace=master_namespace):
                wait_until(watch, back, in_sync, "SYNC")
                print("master back: SYNC")
                gone = len(watch.output.splitlines())
        wait_until(watch, gone, lambda lines: any("listen" in line for line in lines), "reason")
        print("ptp4l ended: said so")
        again = len(watch.output.splitlines())
        with Process(slave, namespace=slave_namespace), Process(master, namespace=master_namespace):
            wait_until(watch, again, in_sync, "SYNC")
            print("ptp4l restarted: SYNC")
        assert watch.running(), "clock_watch ended"


def main():
    need_namespaces()
    if shutil.which("ptp4l", path="/usr/sbin:/sbin:/usr/bin") is None:
        skip("ptp4l (package linuxptp) is not installed")
    with tempfile.TemporaryDirectory() as folder, Namespace("ptpm") as master, \
            Namespace("ptps") as slave, \
            VethPair(master, "10.98.0.1/24", slave, "10.98.0.2/24") as veth:
        run_pair(sys.argv[1], sys.argv[2], folder, master, slave, veth)


if __name__ == "__main__":
    main()
