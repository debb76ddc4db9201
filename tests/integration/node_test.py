#!/usr/bin/env python3
"""The daemon as an operator meets it: it refuses a bad configuration and says why, Prometheus scrapes
it, it loses its clock and stops granting, it crashes and comes back without breaking a promise, and
it leaves nothing behind.

usage: node_test.py CASE DRIFTLOCKD DRIFTLOCK CROSSED_CLIENTS RESTART_STORM   (CASE: one of case_... below)

All of it in network namespaces of the test's own, mostly on a loopback interface.
"""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from netns import Namespace, Process, VethPair, need_namespaces, run, skip
from node_site import Site, fetch, until

def case_config(site):
    driftlockd = site._programs[0]

    def check_config(text):
        site.config.write_text(text)
        ended = subprocess.run([driftlockd, "--check-config", str(site.config)],
                               capture_output=True, text=True, timeout=30)
        return ended.returncode, ended.stdout + ended.stderr

    site.configure()
    code, said = check_config(site.config.read_text())
    assert code == 0 and "good" in said, said

    code, said = check_config("[port]\nudp_port = 99999\nkind = 5\n[limits]\nlocks = 1\n[what]\n"
                              "[auth]\nkeys_file = \"/nowhere/keys.toml\"\n")
    assert code == 2, said
    for part in [f"{site.config}:2: port.udp_port = 99999: allowed is 0 to 65535",
                 ":3: port.kind = 5", ":5: limits.locks: no such option", "what: no such section",
                 "auth.keys_file: /nowhere/keys.toml"]:
        assert part in said, f"{part!r} not in:\n{said}"

    # It does not start with such a file either.
    with site.daemon() as daemon:
        assert daemon.wait() == 2, daemon.output
        assert "port.udp_port" in daemon.output

    # Mistakes that only the machine can tell.
    def refused(more, part):
        site.configure(more)
        with site.daemon() as refusing:
            assert refusing.wait() == 1, refusing.output
            assert part in refusing.output, refusing.output
        assert not site.admin_socket.exists(), "a refused start leaves nothing behind"

    refused("[port]\nkind = \"dpdk\"\naddress = \"10.0.0.1\"\n"
            "device = \"net_af_packet0,iface=none0\"\n", "net_af_packet0")
    refused("[port]\naddress = \"192.0.2.77\"\n", "192.0.2.77")
    refused("[probe]\ninterface = \"none0\"\n", "probe.interface: ")
    refused("[clock]\nsource = \"phc\"\nphc_device = \"/dev/ptp99\"\n", "clock.phc_device: ")
    site.configure()
    site.config.with_name("keys.toml").chmod(0o644)
    with site.daemon() as daemon:
        assert daemon.wait() == 1 and "chmod 600" in daemon.output, daemon.output
    site.config.with_name("keys.toml").chmod(0o600)

    # What is printed is what is in effect, and is itself a configuration.
    site.configure("[limits]\nlocks_max = 777\n")
    printed = run([driftlockd, "--config", str(site.config), "--print-config", "--set",
                   "port.udp_port=5555"])
    assert "locks_max = 777" in printed and "udp_port = 5555" in printed, printed
    code, said = check_config(printed)
    assert code == 0, said


def case_prometheus(site):
    for program in ["prometheus", "promtool"]:
        if shutil.which(program) is None:
            skip(f"no {program} here (Debian package prometheus)")
    site.configure("[clock]\nsource = \"simulated\"\n[predict]\ninterval_ms = 100\n"
                   "[probe]\ninterface = \"lo\"\n")
    with site.daemon() as daemon:
        url = daemon.wait_for("^driftlockd ready: .*metrics=([^ ]+)").group(1)
        for _ in range(3):
            code, said = site.run_client("run", "demo", "--", "true")
            assert code == 0, said
        with site.client("lock", "held") as holder:
            holder.wait_for("held|token")

            text = fetch(site, url)
            linted = subprocess.run(["promtool", "check", "metrics"], input=text,
                                    capture_output=True, text=True, timeout=30)
            assert linted.returncode == 0 and linted.stdout + linted.stderr == "", (
                linted.stdout + linted.stderr)

            config = site.folder / "prometheus.yml"
            config.write_text("global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
                              "scrape_configs:\n- job_name: driftlock\n"
                              "  static_configs: [{targets: ['127.0.0.1:9478']}]\n")
            with Process(["prometheus", f"--config.file={config}",
                          f"--storage.tsdb.path={site.folder}/tsdb",
                          "--web.listen-address=127.0.0.1:9090"], site.namespace) as prometheus:
                prometheus.wait_for("ready to receive web requests")
                query_series(site)
                assert prometheus.stop() == 0, prometheus.output
    print("promtool found nothing; Prometheus returned every series")


def query_series(site):
    def query(expression):
        from urllib.parse import quote
        answer = json.loads(fetch(site, f"http://127.0.0.1:9090/api/v1/query?query={quote(expression)}"))
        assert answer["status"] == "success", answer
        return [float(series["value"][1]) for series in answer["data"]["result"]]

    expected = {
        'up{job="driftlock"}': lambda value: value == 1,
        'driftlock_operations_total{operation="acquire",result="ok"}': lambda value: value >= 4,
        'driftlock_operations_total{operation="release",result="ok"}': lambda value: value >= 3,
        "driftlock_locks": lambda value: value == 1,
        "driftlock_sessions": lambda value: value == 1,
        "driftlock_locks_limit": lambda value: value == 65536,
        'driftlock_clock_state{state="SYNC"}': lambda value: value == 1,
        "driftlock_clock_hard_half_width_seconds": lambda value: 0 < value < 0.001,
        "driftlock_clock_frequency_offset_ratio": lambda value: abs(value) < 1e-3,
        "histogram_quantile(0.5, driftlock_residence_seconds_bucket)":
            lambda value: 0 < value < 1,
        'driftlock_probe_datagrams_total{kind="reply"}': lambda value: value >= 8,
        "histogram_quantile(0.5, driftlock_probe_latency_seconds_bucket)":
            lambda value: 0 < value < 1,
        "driftlock_predictor_steps_total": lambda value: value >= 1,
        "driftlock_profiles": lambda value: value >= 1,
        "sum(driftlock_datagrams_rejected_total)": lambda value: value == 0,
        'driftlock_build_info{version!=""}': lambda value: value == 1,
    }
    for expression, fits in expected.items():
        seen = []

        def met():
            seen[:] = query(expression)
            return len(seen) == 1 and fits(seen[0])

        until(f"{expression} (last seen {seen})", met)
        print(f"{expression} = {seen[0]}")


def case_clock(site):
    site.configure("[clock]\nsource = \"simulated\"\ninterval_ms = 50\nholdover_after_ms = 500\n"
                   "lost_half_width_ns = 200000\n")
    with site.daemon() as daemon:
        daemon.wait_for("^driftlockd ready")
        assert site.ask("clock")["state"] == "SYNC"
        code, said = site.run_client("run", "before", "--", "true")
        assert code == 0, said
        with site.client("clock", "--watch", "--interval", "100ms") as watch, \
                site.client("lock", "kept", "--term", "60s") as holder:
            watch.wait_for("SYNC")
            holder.wait_for("held|token")
            assert site.ask("rehearse", unreadable=True)["unreadable"] is True
            until("HOLDOVER", lambda: site.ask("clock")["state"] == "HOLDOVER")
            # In holdover the bound still holds, and locks are granted.
            code, said = site.run_client("run", "in-holdover", "--", "true")
            assert code == 0, said
            lost = until("LOST", lambda: (now := site.ask("clock"))["state"] == "LOST" and now)
            assert "earliest_ns" not in lost, "a lost clock states no time"
            assert "does not answer" in lost["trouble"], lost
            # Nothing new is granted, and the answer says why; what is held stays held.
            code, said = site.run_client("--json", "lock", "after", "--try")
            assert code != 0 and "clock_lost" in said, (code, said)
            held = site.ask("holders")["locks"]
            assert [lock["key"] for lock in held] == ["kept"], held
            text = fetch(site, "http://127.0.0.1:9478/metrics")
            assert 'driftlock_clock_state{state="LOST"} 1' in text
            assert "driftlock_clock_hard_half_width_seconds" not in text
            # The source is back: so is the service.
            site.ask("rehearse", unreadable=False)
            until("SYNC", lambda: site.ask("clock")["state"] == "SYNC")
            code, said = site.run_client("run", "afterwards", "--", "true")
            assert code == 0, said
            # The watch has seen all of it.
            until("SYNC", lambda: "SYNC" in watch.output.rpartition("LOST")[2])
            assert "HOLDOVER" in watch.output and watch.stop() == 0, watch.output
        assert daemon.stop() == 0, daemon.output
        for state in ["HOLDOVER", "LOST", "SYNC"]:
            assert f"clock state={state}" in daemon.output, daemon.output


def case_predict(site):
    """The kill switch: what prediction may do changes at run time, grants in advance too."""
    site.configure("[clock]\nsource = \"simulated\"\n[predict]\nmode = \"act\"\ncontention = true\n"
                   "advance_namespaces = \"0\"\n")
    with site.daemon() as daemon:
        daemon.wait_for("^driftlockd ready")
        for mode, acting in [("act", True), ("off", False), ("shadow", False), ("act", True)]:
            code, said = site.run_client("predict", mode)
            assert code == 0 and mode in said, (code, said)
            until(f"mode {mode}", lambda m=mode, a=acting:
                  site.ask("predict")["mode"] == m and
                  site.ask("status")["contention"]["acting"] is a)
            assert f'driftlock_prediction_mode{{mode="{mode}"}} 1' in fetch(
                site, "http://127.0.0.1:9478/metrics")
            code, said = site.run_client("run", "as-ever", "--", "true")
            assert code == 0, said
        assert "off, shadow, act" in site.ask("predict", mode="sometimes")["error"]
        assert "wrong type" in site.ask("predict", mode=1)["error"]
        assert site.ask("predict")["mode"] == "act"
        assert daemon.stop() == 0, daemon.output


def token_of(said):
    return int(re.search(r'"token": ?(\d+)', said).group(1))


def case_restart(site):
    site.configure("[clock]\nsource = \"simulated\"\n[lease]\nterm_default_ms = 2000\n")
    with site.daemon() as daemon:
        daemon.wait_for("^driftlockd ready")
        code, said = site.run_client("--json", "lock", "crashed", "--detach", "--term", "3s")
        assert code == 0, said
        first_token = token_of(said)
        lease_end = site.ask("holders")["locks"][0]["holders"][0]["lease_end_ns"]
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    assert site.admin_socket.exists(), "a killed daemon leaves its socket"
    with site.daemon() as daemon:
        daemon.wait_for("^driftlockd ready")
        status = site.ask("status")
        assert status["epoch"] == 2 and status["ready"] is False, status
        code, said = site.run_client("--json", "lock", "crashed", "--try")
        assert code != 0 and "not_ready" in said, (code, said)
        site.forget_detached()
        # Long enough to be alive still when the daemon ends, which takes a second or two.
        code, said = site.run_client("--json", "lock", "crashed", "--detach", "--wait", "60s",
                                     "--term", "8s")
        assert code == 0, said
        assert token_of(said) > first_token, said
        assert site.ask("clock")["earliest_ns"] > lease_end, "granted before the old lease's end"
        # A second daemon cannot take the state away from the first.
        with site.daemon("--set", "port.udp_port=4781", "--set", "metrics.address=", "--set",
                         f"admin.socket={site.folder}/other.sock") as second:
            assert second.wait() == 1 and "another driftlockd" in second.output, second.output
        second_token = token_of(said)
        lease_end = site.ask("holders")["locks"][0]["holders"][0]["lease_end_ns"]
        assert daemon.stop() == 0, daemon.output
    # After an orderly end, the leases themselves say how long to wait.
    recorded = (site.folder / "state" / "life").read_text()
    assert recorded.split() == ["epoch", "2", "horizon_tai_ns", str(lease_end)], recorded
    with site.daemon() as daemon:
        daemon.wait_for("^driftlockd ready")
        site.forget_detached()
        code, said = site.run_client("--json", "lock", "crashed", "--detach", "--wait", "60s")
        assert code == 0 and token_of(said) > second_token, said
        assert daemon.stop() == 0, daemon.output


def bpf_programs():
    listed = subprocess.run(["bpftool", "-j", "prog", "list"], capture_output=True, text=True)
    if listed.returncode != 0:
        return None
    return {program["id"] for program in json.loads(listed.stdout)
            if program.get("name", "").startswith("lock_probe")}


def case_deadlock(site):
    """Two sessions that each hold what the other waits for are found and shown."""
    site.configure("[clock]\nsource = \"simulated\"\n")
    with site.daemon() as daemon:
        daemon.wait_for("^driftlockd ready")
        with site.crossed_clients() as crossed:
            crossed.wait_for("^crossed")
            seen = until("both wait", lambda: (
                now := site.ask("holders", waiting=True)) and len(now["locks"]) == 2 and now)
            (circle,) = seen["deadlocks"]
            assert sorted(wait["key"] for wait in circle) == ["left", "right"], circle
            assert ({wait["session_id"] for wait in circle}
                    == {wait["waits_for"] for wait in circle}), circle
            code, said = site.run_client("holders", "--waiting")
            assert code == 0 and "DEADLOCK" in said and "waits for session" in said, said
        until("the leases of the dead run out", lambda: site.ask("status")["locks"] == 0)
        assert site.ask("holders", waiting=True)["deadlocks"] == []
        assert daemon.stop() == 0, daemon.output


def case_killed(site):
    """kill -9 under 100,000 locks of 1,000 sessions: all are reclaimed, none is held twice."""
    sessions, locks_each = 1000, 100
    site.configure("[clock]\nsource = \"simulated\"\n[limits]\nsessions_max = 4096\n"
                   "locks_max = 200000\n")
    with site.daemon() as first, site.restart_storm(sessions, locks_each) as storm:
        first.wait_for("^driftlockd ready")
        storm.wait_for(f"^holding {sessions * locks_each}$", timeout_s=120)
        killed = time.monotonic()
        first.send_signal(signal.SIGKILL)
        first.wait()
        with site.daemon() as second:
            second.wait_for("^driftlockd ready")
            print(f"ready {time.monotonic() - killed:.2f} s after the kill")
            storm.wait_for(f"^reclaimed {sessions} of {sessions}$", timeout_s=60)
            print(f"{sessions * locks_each} locks of {sessions} sessions reclaimed "
                  f"{time.monotonic() - killed:.2f} s after the kill")
            storm.wait_for("^fresh$", timeout_s=60)
            print(f"first fresh grant {time.monotonic() - killed:.2f} s after the kill")
            print(storm.wait_for("^checked .* lost 0 double 0$", timeout_s=120).group(0))


def case_waiting(site):
    """Who waits for whom, from the lcore that alone knows."""
    site.configure("[clock]\nsource = \"simulated\"\n")
    with site.daemon() as daemon:
        daemon.wait_for("^driftlockd ready")
        with site.client("lock", "a") as first:
            first.wait_for("held|token")
            with site.client("lock", "a") as second, site.client("lock", "b") as other:
                other.wait_for("held|token")
                until("one waits", lambda: site.ask("status")["waiters"] == 1)
                everything = site.ask("holders")
                assert [lock["key"] for lock in everything["locks"]] == ["a", "b"], everything
                look = site.ask("holders", waiting=True)
                assert [lock["key"] for lock in look["locks"]] == ["a"], look
                queue = look["locks"][0]["queue"]
                assert len(queue) == 1 and look["locks"][0]["waiters"] == 1, look
                assert queue[0]["session_id"] != look["locks"][0]["holders"][0]["session_id"]
                assert look["deadlocks"] == [] and look["truncated"] is False, look
                assert site.ask("holders", limit=1)["truncated"] is True
                for question in ["nonsense", {"limit": "many"}]:
                    answer = (site.ask(question) if isinstance(question, str)
                              else site.ask("holders", **question))
                    assert "error" in answer, answer
                first.stop()
                second.wait_for("held|token")
        assert daemon.stop() == 0, daemon.output


def case_end(site):
    site.configure("[clock]\nsource = \"simulated\"\n[probe]\ninterface = \"lo\"\n")
    before = bpf_programs()
    queues = run(["tc", "qdisc", "show", "dev", "lo"], site.namespace)
    for number in [signal.SIGTERM, signal.SIGINT]:
        with site.daemon() as daemon:
            daemon.wait_for("^driftlockd ready")
            assert site.admin_socket.stat().st_mode & 0o777 == 0o660
            assert "clsact" in run(["tc", "qdisc", "show", "dev", "lo"], site.namespace)
            # With sessions open, a silent peer at the admin socket, and a command under way.
            with site.client("run", "busy", "--", "sleep", "60") as client:
                until("the lock is held", lambda: site.ask("status")["locks"] == 1)
                daemon.send_signal(number)
                assert daemon.wait(timeout_s=15) == 0, daemon.output
                client.send_signal(signal.SIGKILL)
        assert not site.admin_socket.exists()
        assert run(["tc", "qdisc", "show", "dev", "lo"], site.namespace) == queues
        if before is not None:
            until("the probe's programs are gone", lambda: bpf_programs() <= before)
        left = {path.name for path in site.folder.iterdir()}
        assert left == {"driftlockd.toml", "keys.toml", "state"}, left
        listening = run(["ss", "-Hlntu"], site.namespace)
        assert listening == "", listening
        # Leases of this life would hold up the next one's clients.
        shutil.rmtree(site.folder / "state")


def case_dpdk(site):
    on_own_interface(site, False)


def case_steered(site):
    """The probe on the interface that AF_XDP drives: requests are counted, replies pass it by."""
    on_own_interface(site, True)


def metric(text, name):
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith(name))


def on_own_interface(site, probed):
    """The daemon on an interface of its own, also after one that was killed there."""
    with Namespace("user") as user, VethPair(
            site.namespace, None, user, "10.99.2.2/24") as veth:
        site.configure("[clock]\nsource = \"simulated\"\n[port]\nkind = \"dpdk\"\n"
                       f"address = \"10.99.2.1\"\ndevice = \"net_af_xdp0,iface={veth.left}\"\n"
                       "idle_sleep_us = 100\n[lease]\nterm_default_ms = 1000\n"
                       "[predict]\ninterval_ms = 50\n" +
                       (f"[probe]\ninterface = \"{veth.left}\"\n" if probed else ""))
        site.server = "10.99.2.1:4780"
        for number, code in [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)]:
            with site.daemon() as daemon:
                try:
                    daemon.wait_for("^driftlockd ready: address=10.99.2.1:4780")
                except AssertionError:
                    if re.search("not supported|Operation not", daemon.output):
                        skip(f"no AF_XDP here: {daemon.output}")
                    raise
                ended, said = site.run_client("run", "key", "--wait", "30s", "--", "true",
                                              namespace=user)
                assert ended == 0, (said, daemon.output)
                ended, said = site.run_client("--json", "ping", "--count", "1",
                                              namespace=user)
                assert ended == 0 and json.loads(said)["stamp_source"] == "tsc", said
                assert site.ask("status")["port"]["kind"] == "dpdk"
                assert site.ask("holders")["locks"] == []
                text = fetch(site, "http://127.0.0.1:9478/metrics")
                assert 'driftlock_port_info{kind="dpdk",address="10.99.2.1:4780"' in text
                if probed:
                    check_steered(site)
                    check_shared(site, user, veth)
                runtime = pathlib.Path(f"/var/run/dpdk/driftlock-{daemon.pid}")
                daemon.send_signal(number)
                assert daemon.wait() == code, daemon.output
                if number == signal.SIGKILL:
                    shutil.rmtree(runtime, ignore_errors=True)  # nobody else can
        assert "xdp" not in run(["ip", "link", "show", veth.left], site.namespace)
        assert not runtime.exists(), runtime


def check_shared(site, user, veth):
    """What is not the node's, such as a frame of PTP's, is left to the kernel."""
    listen = ("import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88F7));"
              f"s.bind(('{veth.left}', 0x88F7)); s.settimeout(30); print('ready', flush=True);"
              "print(s.recv(2048)[14:].decode(), flush=True)")
    tell = ("import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW);"
            f"s.bind(('{veth.right}', 0)); s.send(bytes([1, 27, 25, 0, 0, 0]) + bytes(6) +"
            "b'\\x88\\xf7' + b'for ptp4l')")
    with Process([sys.executable, "-c", listen], site.namespace) as listener:
        listener.wait_for("ready")
        run([sys.executable, "-c", tell], user)
        listener.wait_for("for ptp4l")


def check_steered(site):
    seen = 'driftlock_probe_datagrams_total{kind="%s"'
    text = until("requests are counted",
                 lambda: (found := fetch(site, "http://127.0.0.1:9478/metrics")) and
                 metric(found, seen % "request") >= 4 and found)
    assert metric(text, seen % "reply") == metric(text, seen % "unmatched") == 0, text
    assert metric(text, "driftlock_probe_clients ") >= 2, text  # of `run` and of `ping`
    assert metric(text, "driftlock_probe_evictions_total") == 0, text


def main():
    case, *programs = sys.argv[1:]
    need_namespaces()
    with tempfile.TemporaryDirectory(prefix="dl") as folder, Namespace("node") as namespace:
        globals()[f"case_{case}"](Site(folder, namespace, *programs))


if __name__ == "__main__":
    main()
