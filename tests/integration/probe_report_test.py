#!/usr/bin/env python3
"""`driftlock probe` on a client's host: what it sees is what the clients measure, its reports reach the
profiles at the node, and a stranger's reports are refused.
usage: probe_report_test.py DRIFTLOCKD DRIFTLOCK"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from netns import Namespace, Process, VethPair, need_namespaces, run

KEYS = "".join(f"""
[[client]]
id = {number}
name = "client{number}"
key = "{number:02d}0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
""" for number in (1, 2))
SERVER = "10.99.3.1:4780"
METRICS = "http://127.0.0.1:9478/metrics"


def fetch(namespace):
    program = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"
    return run([sys.executable, "-c", program, METRICS], namespace)


def metric(text, name):
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def lines_of(process):
    return [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]


def until(what, check, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.1)


def driftlock(program, folder, client_id, *arguments):
    return [program, "--json", "--server", SERVER, "--key-file", folder / "keys.toml",
            "--client-id", str(client_id), *arguments]


def ping(program, folder, namespace, count):
    return [json.loads(line) for line in run(
        [str(part) for part in driftlock(program, folder, 1, "ping", "--count", str(count))],
        namespace).splitlines()]


def check_host(driftlock_exe, folder, node, host, interface):
    """A probe with the clients' own key, by tc and by XDP."""
    reported = 0
    for hook in ("tc", "xdp"):
        with Process(driftlock(driftlock_exe, folder, 1, "probe", "--interface", interface,
                               "--hook", hook, "--interval", "300ms"), host) as probe:
            until("the probe is there",
                  lambda probe=probe: "clients" in probe.output or not probe.running())
            pings = ping(driftlock_exe, folder, host, 40)
            assert len(pings) == 40, pings
            until("its client is seen", lambda probe=probe: sum(
                client["requests"] for line in lines_of(probe) for client in line["clients"]) >= 40)
            # Of a client that lives on: a session that has ended has no profile to add to.
            with Process(driftlock(driftlock_exe, folder, 1, "lock", hook, "--term", "600ms"), host):
                until("its reports are taken", lambda probe=probe: lines_of(probe)[-1][
                    "reports"]["taken"] >= 3, 60)
                # The predictor's next look at the profiles, not its last one, has it.
                until("its profile knows its path",
                      lambda: metric(fetch(node), "driftlock_profiles_with_path") >= 1)
            seen = [client for line in lines_of(probe) for client in line["clients"]]
            assert all(client["node"] == SERVER and client["clock"] == "monotonic"
                       for client in seen), seen
            assert lines_of(probe)[-1]["flights_evicted"] == 0, probe.output
            reported += lines_of(probe)[-1]["reports"]["taken"]
            assert probe.stop() == 0, probe.output
        assert "clsact" not in run(["tc", "qdisc", "show", "dev", interface], host)
        assert "xdp" not in run(["ip", "link", "show", interface], host)
    taken = metric(fetch(node), 'driftlock_operations_total{operation="probe_report",result="ok"')
    assert taken >= reported, (taken, reported)


def check_router(driftlock_exe, folder, node, host, interface):
    """A probe on the node's machine with another client's key: the address is not the clients'."""
    with Process(driftlock(driftlock_exe, folder, 2, "probe", "--interface", interface,
                           "--interval", "300ms"), node) as probe:
        with Process(driftlock(driftlock_exe, folder, 1, "lock", "held", "--term", "600ms"), host):
            until("its reports are refused", lambda: lines_of(probe) and lines_of(probe)[-1][
                "reports"]["refused"] >= 1, 60)
        assert lines_of(probe)[-1]["reports"]["taken"] == 0, probe.output


def check_mistakes(driftlock_exe, folder, host, interface):
    for arguments, part in ((["--interface", "nothere"], "nothere"),
                            (["--interface", interface, "--ports", "9-1"], "FIRST-LAST"),
                            (["--interface", "lo", "--hook", "xdp"], "loopback")):
        ended = subprocess.run(
            ["ip", "netns", "exec", host.name,
             *map(str, driftlock(driftlock_exe, folder, 1, "probe", *arguments))],
            capture_output=True, text=True, check=False)
        assert ended.returncode == 2 and part in ended.stdout, ended


def main():
    driftlockd, driftlock_exe = sys.argv[1:]
    need_namespaces()
    with tempfile.TemporaryDirectory(prefix="dl") as name, Namespace("node") as node, \
            Namespace("host") as host, \
            VethPair(node, "10.99.3.1/24", host, "10.99.3.2/24") as veth:
        folder = pathlib.Path(name)
        (folder / "keys.toml").write_text(KEYS)
        (folder / "keys.toml").chmod(0o600)
        daemon = [driftlockd, "--set", f"auth.keys_file={folder}/keys.toml",
                  "--set", f"node.state_directory={folder}/state",
                  "--set", f"admin.socket={folder}/admin.sock", "--set", "port.address=10.99.3.1",
                  "--set", "clock.source=simulated", "--set", "predict.interval_ms=100"]
        with Process(daemon, node) as served:
            served.wait_for("^driftlockd ready")
            check_host(driftlock_exe, folder, node, host, veth.right)
            check_router(driftlock_exe, folder, node, host, veth.left)
            check_mistakes(driftlock_exe, folder, host, veth.right)
            assert served.stop() == 0, served.output
    print("ok")


if __name__ == "__main__":
    main()
