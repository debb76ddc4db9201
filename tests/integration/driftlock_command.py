"""The `driftlock` command against a real driftlockd over loopback: locks are held and handed on, codes
and signals pass through, a lost lease stops the command, a restarted node gives back what is held.

usage: driftlock_command.py DRIFTLOCKD DRIFTLOCK
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

from netns import Process

DAEMON, COMMAND = sys.argv[1:3]
KEY = "00112233445566778899aabbccddeeff" * 2


class Bench:
    """A directory with keys and settings, and the command's environment."""

    def __init__(self, directory):
        self.directory = directory
        self.admin = os.path.join(directory, "admin.sock")
        keys = os.path.join(directory, "keys.toml")
        with open(keys, "w", encoding="utf-8") as file:
            file.write(f'[[client]]\nid = 1\nname = "test"\nkey = "{KEY}"\n')
        os.chmod(keys, 0o600)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        runtime = os.path.join(directory, "runtime")
        os.mkdir(runtime, 0o700)
        self.environment = {"DRIFTLOCK_SERVER": f"127.0.0.1:{self.port}",
                            "DRIFTLOCK_KEY_FILE": keys, "XDG_RUNTIME_DIR": runtime}
        settings = os.path.join(directory, "node.toml")
        with open(settings, "w", encoding="utf-8") as file:
            file.write(
                f'[node]\nstate_directory = "{directory}"\n'
                f'[port]\nkind = "socket"\nudp_port = {self.port}\nidle_sleep_us = 200\n'
                f'[auth]\nkeys_file = "{keys}"\n'
                '[clock]\nsource = "system"\ntrust_unsynchronized = true\n'
                f'[metrics]\naddress = ""\n[admin]\nsocket = "{self.admin}"\n')
        self.settings = settings

    def node(self):
        return Process([DAEMON, "--config", self.settings])

    def start(self, *arguments):
        return Process([COMMAND, *arguments], environment=self.environment)

    def call(self, *arguments, code=0):
        ended = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60,
                               env={**os.environ, **self.environment}, check=False)
        assert ended.returncode == code, (arguments, ended.returncode, ended.stdout, ended.stderr)
        return ended.stdout

    def call_json(self, *arguments, code=0):
        lines = self.call("--json", *arguments, code=code).splitlines()
        return [json.loads(line) for line in lines]


def exit_of(process):
    return process._process.wait(timeout=60)  # pylint: disable=protected-access


def asks(bench):
    assert bench.call_json("ping", "-c", "1")[0]["round_trip_ns"] > 0
    remote = bench.call_json("clock", "--remote")[0]
    assert remote["earliest_ns"] < remote["latest_ns"]
    assert (remote["state"], remote["source"]) == ("SYNC", "system"), remote
    assert bench.call_json("status", "--admin", bench.admin)[0]["epoch"] >= 1
    assert "nothing is locked" in bench.call("holders", "--admin", bench.admin)
    assert bench.call_json("clock", "--admin", bench.admin)[0]["state"] == "SYNC"


def codes(bench):
    assert bench.call("run", "a", "--", "sh", "-c", "echo $DRIFTLOCK_TOKEN").strip().isdigit()
    bench.call("run", "a", "--", "sh", "-c", "exit 7", code=7)
    bench.call("run", "a", "--", "sh", "-c", "kill -9 $$", code=128 + 9)
    bench.call("run", "a", "--", "/nonexistent", code=127)
    bench.call("--key-file", "/nonexistent", "lock", "a", code=2)
    bench.call("lock", "k" * 65, code=2)


def contends(bench):
    with bench.start("run", "a", "--", "sh", "-c", "echo first; sleep 1; echo last") as first:
        first.wait_for("first")
        assert bench.call_json("lock", "a", "--try", code=1)[0]["error"] == "busy"
        bench.call("run", "a", "--wait", "100ms", "--", "true", code=124)
        with bench.start("run", "a", "--", "sh", "-c", "echo second") as second:
            second.wait_for("second")
            assert "last" in first.output
            assert exit_of(second) == 0
        assert exit_of(first) == 0


def shows_who_waits(bench):
    # Each holds one lock and waits, inside, for the other's.
    nested = [COMMAND, "run", "{inner}", "--", "true"]
    with bench.start("run", "x", "--", "sh", "-c",
                     "echo ready; sleep 0.3; exec " + " ".join(nested).format(inner="y")) as one, \
         bench.start("run", "y", "--", "sh", "-c",
                     "echo ready; sleep 0.3; exec " + " ".join(nested).format(inner="x")) as two:
        one.wait_for("ready")
        two.wait_for("ready")
        deadline = time.monotonic() + 20
        while "waiting: client" not in (shown := bench.call("holders", "--waiting", "--admin",
                                                            bench.admin)):
            assert time.monotonic() < deadline, shown
            time.sleep(0.1)
        os.kill(one.pid, signal.SIGTERM)
        exit_of(one)
        assert exit_of(two) == 0, two.output


def detaches(bench):
    taken = bench.call_json("lock", "d", "--detach", "--term", "60s")[0]
    assert oct(os.stat(taken["state_file"]).st_mode & 0o777) == "0o600"
    held = bench.call_json("holders", "--admin", bench.admin)[0]["locks"]
    assert [(lock["key"], lock["holders"][0]["token"]) for lock in held] == [("d", taken["token"])]
    bench.call("lock", "d", "--detach", code=2)
    bench.call("lock", "d", "--try", code=1)
    bench.call("unlock", "d")
    bench.call("unlock", "d", code=2)
    again = bench.call_json("run", "d", "--", "true")[0]
    assert again["token"] > taken["token"]


def interrupts(bench):
    with bench.start("lock", "s") as holder:
        holder.wait_for("locked s")
        with bench.start("lock", "s") as waiter:
            time.sleep(0.3)
            os.kill(waiter.pid, signal.SIGINT)
            assert exit_of(waiter) == 130
        os.kill(holder.pid, signal.SIGINT)
        holder.wait_for("unlocked s")
        assert exit_of(holder) == 0
    script = "trap 'echo caught; exit 9' TERM; echo ready; sleep 30 & wait"
    with bench.start("run", "s", "--", "sh", "-c", script) as running:
        running.wait_for("ready")
        os.kill(running.pid, signal.SIGTERM)
        running.wait_for("caught")
        assert exit_of(running) == 9
    assert bench.call_json("run", "s", "--try", "--", "true")[-1]["exit"] == 0


def loses(bench, node):
    script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.1; done"
    with bench.start("run", "l", "--term", "2s", "--", "sh", "-c", script) as running:
        running.wait_for("ready")
        os.kill(node.pid, signal.SIGSTOP)
        try:
            running.wait_for("asked")
            assert exit_of(running) == 123
        finally:
            os.kill(node.pid, signal.SIGCONT)
    # Stopped past its lease: it knows before it says anything else.
    with bench.start("run", "m", "--term", "1s", "--", "sh", "-c", "echo ready; sleep 30") as running:
        running.wait_for("ready")
        os.kill(running.pid, signal.SIGSTOP)
        bench.call("run", "m", "--", "true")
        os.kill(running.pid, signal.SIGCONT)
        assert exit_of(running) == 123


def survives_restart(bench, node):
    script = "echo ready; sleep 6; echo done"
    with bench.start("run", "r", "--term", "4s", "--", "sh", "-c", script) as running:
        running.wait_for("ready")
        os.kill(node.pid, signal.SIGKILL)
        exit_of(node)
        with bench.node() as successor:
            successor.wait_for("ready:")
            epoch = bench.call_json("status", "--admin", bench.admin)[0]["epoch"]
            assert epoch == 2, epoch
            running.wait_for("done")
            assert exit_of(running) == 0, running.output


def main():
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(directory)
        with bench.node() as node:
            node.wait_for("ready:")
            for case in (asks, codes, contends, shows_who_waits, detaches, interrupts):
                case(bench)
                print(f"{case.__name__}: ok", flush=True)
            loses(bench, node)
            print("loses: ok", flush=True)
            survives_restart(bench, node)
            print("survives_restart: ok", flush=True)
        bench.call("ping", "--timeout", "300ms", code=3)


if __name__ == "__main__":
    main()
