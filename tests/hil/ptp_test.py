"""A node on an emulated NIC with a real PHC: the stock igb driver, `ptp4l -H` after a grandmaster in
another guest, driftlockd on the PHC and ptp4l's word. The grandmaster goes and comes back; another
process steps the PHC. Prints what was seen, and how long all of it took.

usage: ptp_test.py FOLDER DRIFTLOCKD DRIFTLOCK
"""

import json
import sys
import time

import image
from lab import Lab, need_qemu

# Emulation is slow: a stamp may be long in coming. L2, because the emulated filter stamps no UDP.
PTP = ("ptp4l -H -2 -i eth0 -m --logAnnounceInterval=-1 --logSyncInterval=-2 "
       "--logMinDelayReqInterval=-2 --tx_timestamp_timeout=2000 --summary_interval=1 ")
MASTER = PTP + "--clockClass=6 --clockAccuracy=0x21 --priority1=10 </dev/null >/tmp/ptp4l.log 2>&1 & echo $!"
SLAVE = (PTP + "-s --step_threshold=0.0 --first_step_threshold=0.00002 "
         "--slave_event_monitor=/run/events </dev/null >/tmp/ptp4l.log 2>&1 & echo $!")

CONFIG = """[clock]
source = "phc"
ptp4l_socket = "/var/run/ptp4l"
interval_ms = 250
holdover_after_ms = 2000
phc_max_error_ns = 1000
[auth]
keys_file = "/tmp/me.key"
[node]
state_directory = "/tmp/state"
[admin]
socket = "/tmp/admin"
"""


def clock(node):
    return json.loads(node.run("driftlock --json --admin /tmp/admin clock").splitlines()[-1])


def wait_for(node, wanted, what, timeout_s=150):
    """The first look at the clock that satisfies `wanted`."""
    deadline = time.monotonic() + timeout_s
    while True:
        now = clock(node)
        if wanted(now):
            return now
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what}: {now}\n{node.run('tail -n 5 /tmp/ptp4l.log')}\n"
                                 f"{node.run('tail -n 5 /tmp/node.log')}")
        time.sleep(0.5)


def start_node(node):
    node.run("mkdir -m 700 /tmp/state; umask 077; driftlock keygen --name me >/tmp/me.key")
    node.run(f"cat >/tmp/node.toml <<'END'\n{CONFIG}END")
    node.run("driftlockd --config /tmp/node.toml </dev/null >/tmp/node.log 2>&1 &")
    deadline = time.monotonic() + 60
    while "ready" not in node.run("cat /tmp/node.log"):
        ended = "yes" in node.run("pidof driftlockd >/dev/null || echo yes")
        assert not ended and time.monotonic() < deadline, node.run("cat /tmp/node.log")
        time.sleep(0.5)


def scenario(master, node):
    # The oscillators differ: the grandmaster's runs 30 ppm fast, and the node's starts 2 s off.
    master.run("phc_ctl /dev/ptp0 freq 30000")
    node.run("phc_ctl /dev/ptp0 adj 2.0")
    start_node(node)
    assert clock(node)["state"] == "LOST"
    node.run(SLAVE)
    master_pid = master.run(MASTER).split()[-1]
    now = wait_for(node, lambda c: c["state"] == "SYNC", "SYNC")
    print(f"SYNC: half width {now['half_width_ns']} ns, source {now['source']}", flush=True)
    granted = node.run("driftlock --server 127.0.0.1:4780 --key-file /tmp/me.key lock a --detach "
                       "--term 2s; phc_ctl /dev/ptp0 get")
    assert "locked a" in granted, granted
    print(granted.strip(), flush=True)
    recorded = node.run("driftlock clock record --source phc:/dev/ptp0 --ptp4l-events /run/events "
                        "--interval 0.25 --count 24", timeout_s=90)
    assert "# ptp sync" in recorded and "# ptp delay" in recorded, recorded
    print(f"recorded: {len(recorded.splitlines())} lines, ptp4l's events among them", flush=True)

    master.run(f"kill {master_pid}")
    first = wait_for(node, lambda c: c["state"] == "HOLDOVER", "HOLDOVER")
    later = wait_for(node, lambda c: c["half_width_ns"] > first["half_width_ns"], "growth")
    assert later["state"] == "HOLDOVER", later
    print(f"grandmaster gone: HOLDOVER, half width grows from {first['half_width_ns']} to "
          f"{later['half_width_ns']} ns", flush=True)
    master.run(MASTER)
    wait_for(node, lambda c: c["state"] == "SYNC", "SYNC again")
    print("grandmaster back: SYNC", flush=True)

    before = node.run("wc -l </tmp/node.log").split()[-1]
    node.run("phc_ctl /dev/ptp0 adj 0.1")
    stepped = wait_for(node, lambda c: c["state"] in ("SUSPECT", "LOST") or
                       c["half_width_ns"] > 40_000_000, "notice of the step", timeout_s=30)
    print(f"PHC stepped by 100 ms: {stepped['state']}, half width {stepped['half_width_ns']} ns")
    print(node.run(f"tail -n +{before} /tmp/node.log | head -n 4"), flush=True)
    return recorded


def main():
    need_qemu()
    folder, driftlockd, driftlock = sys.argv[1:]
    begun = time.monotonic()
    kernel, initramfs = image.build(folder, driftlockd, driftlock)
    with Lab(f"{folder}/ptp", kernel, initramfs) as lab:
        master = lab.start("master", "10.0.0.1/24")
        node = lab.start("node", "10.0.0.2/24")
        master.wait_until_up()
        node.wait_until_up()
        print(f"both guests are up after {time.monotonic() - begun:.0f} s", flush=True)
        recorded = scenario(master, node)
    with open(f"{folder}/ptp/samples.txt", "w", encoding="utf-8") as file:
        file.write(recorded)
    print(f"all of it took {time.monotonic() - begun:.0f} s; logs and samples.txt in {folder}/ptp")


if __name__ == "__main__":
    main()
